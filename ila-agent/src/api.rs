//! The local API: HTTP on the unix socket, JSON in and out. The paths and
//! types are those of `ila_proto::api`.

use std::{convert::Infallible, fmt::Display, str::FromStr, time::Duration};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{
        DefaultBodyLimit, Path, Request, State,
        rejection::{BytesRejection, PathRejection},
    },
    http::{StatusCode, header::CONTENT_TYPE},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use ila_proto::{
    addr::Identifier,
    api::{
        AddContainer, Container, ContainerList, ContainerName, CounterList, ErrorCode, ErrorReply,
        MAX_REQUEST_BYTES, Mapping, MappingList, Status, Versioned,
    },
};
use serde::Serialize;

use crate::{
    error::Refusal,
    lifecycle::Lifecycle,
    monitor::{Listener, Monitor},
    owner::Owner,
};

mod mesh;
mod serve;
pub use serve::serve;

/// How long a client may take over its request, and the agent over its reply.
const REQUEST_TIME: Duration = Duration::from_secs(30);

/// The API on top of `lifecycle` and `monitor`.
pub fn router(lifecycle: Lifecycle, monitor: Monitor) -> Router {
    let drops = Router::new().route("/v1/drops", get(drops)).with_state(monitor);
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/containers", get(containers).post(add_container))
        .route("/v1/containers/{name}", get(container).delete(remove_container))
        .route("/v1/mappings", get(mappings))
        .route("/v1/mappings/{identifier}", get(mapping))
        .route("/v1/counters", get(counters))
        .merge(mesh::routes())
        .merge(drops)
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_path)
        .layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES))
        .layer(middleware::from_fn(limit_time))
        .with_state(lifecycle)
}

type Reply<T> = Result<Json<Versioned<T>>, Refusal>;

async fn status(State(lifecycle): State<Lifecycle>) -> Reply<Status> {
    let status = lifecycle.owner.call(|owner| owner.status()).await?;
    let mesh = match &lifecycle.mesh {
        Some(mesh) => mesh.status().await,
        None => None,
    };
    Ok(Json(Versioned::new(Status { mesh, ..status })))
}

async fn containers(State(lifecycle): State<Lifecycle>) -> Reply<ContainerList> {
    read(&lifecycle, |owner| Ok(ContainerList { containers: owner.containers() })).await
}

async fn container(
    State(lifecycle): State<Lifecycle>,
    name: Result<Path<String>, PathRejection>,
) -> Reply<Container> {
    let name: ContainerName = from_path(name)?;
    read(&lifecycle, move |owner| owner.container(&name)).await
}

async fn add_container(
    State(lifecycle): State<Lifecycle>,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<Versioned<Container>>), Refusal> {
    let request: AddContainer = serde_json::from_slice(
        &body.map_err(|rejection| unreadable(&rejection))?,
    )
    .map_err(|error| Refusal::new(ErrorCode::BadRequest, format!("bad request: {error}")))?;
    let added = to_the_end(async move { lifecycle.add(request).await }).await?;
    Ok((StatusCode::CREATED, Json(Versioned::new(added))))
}

async fn remove_container(
    State(lifecycle): State<Lifecycle>,
    name: Result<Path<String>, PathRejection>,
) -> Reply<Container> {
    let name: ContainerName = from_path(name)?;
    let removed = to_the_end(async move { lifecycle.remove(name).await }).await?;
    Ok(Json(Versioned::new(removed)))
}

async fn mappings(State(lifecycle): State<Lifecycle>) -> Reply<MappingList> {
    let mappings = lifecycle.owner.call(|owner| owner.mappings()).await?;
    Ok(Json(Versioned::new(MappingList { mappings: attribute(&lifecycle, mappings).await })))
}

async fn mapping(
    State(lifecycle): State<Lifecycle>,
    identifier: Result<Path<String>, PathRejection>,
) -> Reply<Mapping> {
    let identifier: Identifier = from_path(identifier)?;
    let (_, found, _) = lifecycle.owner.call(move |owner| owner.find_mapping(identifier)).await?;
    let found = attribute(&lifecycle, found.into_iter().collect()).await.pop();
    let found = found.ok_or_else(|| {
        let message = format!("no mapping names the identifier {identifier}");
        Refusal::new(ErrorCode::NotFound, message)
            .hint(format!("see why with: ila-ctl mapping why {identifier}"))
    })?;
    Ok(Json(Versioned::new(found)))
}

/// Mappings with who says so, if there is somebody to say so.
async fn attribute(lifecycle: &Lifecycle, mappings: Vec<Mapping>) -> Vec<Mapping> {
    match &lifecycle.mesh {
        Some(mesh) => mesh.attribute(mappings).await,
        None => mappings,
    }
}

async fn counters(State(lifecycle): State<Lifecycle>) -> Reply<CounterList> {
    read(&lifecycle, |owner| owner.counters()).await
}

/// A line for each dropped packet until the client hangs up.
async fn drops(State(monitor): State<Monitor>) -> Result<Response, Refusal> {
    let listener = monitor.listen().await?;
    let lines = futures_util::stream::unfold(listener, |mut listener: Listener| async {
        let packet = Versioned::new(listener.next().await?);
        let mut line = serde_json::to_vec(&packet).unwrap_or_default();
        line.push(b'\n');
        Some((Ok::<_, Infallible>(line), listener))
    });
    let kind = [(CONTENT_TYPE, "application/x-ndjson")];
    Ok((kind, Body::from_stream(lines)).into_response())
}

async fn unknown_path(request: Request) -> Refusal {
    let message = format!("there is no {} {}", request.method(), request.uri().path());
    Refusal::new(ErrorCode::UnknownPath, message)
}

async fn limit_time(request: Request, next: Next) -> Response {
    tokio::time::timeout(REQUEST_TIME, next.run(request)).await.unwrap_or_else(|_| {
        let message = format!("no reply within {REQUEST_TIME:?}; the work may still be done");
        Refusal::new(ErrorCode::TooSlow, message).hint("see: ila-ctl container ls").into_response()
    })
}

async fn read<T: Send + 'static>(
    lifecycle: &Lifecycle,
    work: impl FnOnce(&mut Owner) -> Result<T, Refusal> + Send + 'static,
) -> Reply<T> {
    Ok(Json(Versioned::new(lifecycle.owner.call(work).await??)))
}

/// Work that must not stop half-way when its client hangs up: a task of its
/// own, which goes on when nobody waits for it.
async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Refusal>> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::spawn(work)
        .await
        .unwrap_or_else(|error| Err(Refusal::new(ErrorCode::Kernel, format!("BUG: {error}"))))
}

fn from_path<T: FromStr<Err: Display>>(
    text: Result<Path<String>, PathRejection>,
) -> Result<T, Refusal> {
    let bad = |error: String| Refusal::new(ErrorCode::BadRequest, error);
    let Path(text) = text.map_err(|rejection| bad(rejection.body_text()))?;
    text.parse().map_err(|error: T::Err| bad(error.to_string()))
}

fn unreadable(rejection: &BytesRejection) -> Refusal {
    let code = match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ErrorCode::TooLarge,
        _ => ErrorCode::BadRequest,
    };
    let message =
        format!("bad request: {}; {MAX_REQUEST_BYTES} bytes at most", rejection.body_text());
    Refusal::new(code, message)
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self.code {
            ErrorCode::BadRequest | ErrorCode::NoNamespace => StatusCode::BAD_REQUEST,
            ErrorCode::TooSlow => StatusCode::REQUEST_TIMEOUT,
            ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorCode::UnknownPath | ErrorCode::NotFound => StatusCode::NOT_FOUND,
            ErrorCode::NameTaken
            | ErrorCode::IdentifierTaken
            | ErrorCode::InterfaceTaken
            | ErrorCode::Busy => StatusCode::CONFLICT,
            ErrorCode::Kernel => StatusCode::INTERNAL_SERVER_ERROR,
            ErrorCode::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
        };
        reply(status, ErrorReply::from(self))
    }
}

fn reply<T: Serialize>(status: StatusCode, body: T) -> Response {
    (status, Json(Versioned::new(body))).into_response()
}
