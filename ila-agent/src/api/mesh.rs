//! What can be asked of the mesh.

use std::convert::Infallible;

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, State, rejection::PathRejection},
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
    routing::get,
};
use ila_proto::{
    addr::Identifier,
    api::{ErrorCode, MappingOrigin, NodeList, Versioned},
    gossip::claim::Subject,
};
use tokio::sync::broadcast::error::RecvError;

use super::{Reply, from_path};
use crate::{
    error::Refusal,
    lifecycle::Lifecycle,
    mesh::{Membership, unknown},
};

/// The paths.
pub fn routes() -> Router<Lifecycle> {
    Router::new()
        .route("/v1/nodes", get(nodes))
        .route("/v1/mappings/{identifier}/origin", get(origin))
        .route("/v1/mapping-changes", get(changes))
}

async fn nodes(State(lifecycle): State<Lifecycle>) -> Reply<NodeList> {
    let no_mesh = || {
        Refusal::new(ErrorCode::NotFound, "this host is in no mesh")
            .hint("its mappings are those of the configuration: ila-ctl mapping ls")
    };
    let mesh: &Membership = lifecycle.mesh.as_ref().ok_or_else(no_mesh)?;
    Ok(Json(Versioned::new(mesh.nodes().await)))
}

async fn origin(
    State(lifecycle): State<Lifecycle>,
    identifier: Result<Path<String>, PathRejection>,
) -> Reply<MappingOrigin> {
    let identifier: Identifier = from_path(identifier)?;
    let found = lifecycle.owner.call(move |owner| owner.find_mapping(identifier)).await?;
    let (sir_prefix, mapping, installed) = found;
    let subject = Subject::new(sir_prefix, identifier);
    let origin = match &lifecycle.mesh {
        Some(mesh) => mesh.origin(subject, mapping).await,
        None => MappingOrigin { mapping, ..unknown() },
    };
    let installed_millis = installed.map(|it| it.as_millis().try_into().unwrap_or(u64::MAX));
    Ok(Json(Versioned::new(MappingOrigin { installed_millis, ..origin })))
}

/// A line for each mapping that changes until the client hangs up.
async fn changes(State(lifecycle): State<Lifecycle>) -> Result<Response, Refusal> {
    let changes = lifecycle.owner.call(|owner| owner.changes()).await?;
    let lines = futures_util::stream::unfold(changes, |mut changes| async {
        loop {
            let change = match changes.recv().await {
                Ok(change) => Versioned::new(change),
                // Whoever is slow sees less, and where it stands in the end.
                Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return None,
            };
            let mut line = serde_json::to_vec(&change).unwrap_or_default();
            line.push(b'\n');
            return Some((Ok::<_, Infallible>(line), changes));
        }
    });
    let kind = [(CONTENT_TYPE, "application/x-ndjson")];
    Ok((kind, Body::from_stream(lines)).into_response())
}
