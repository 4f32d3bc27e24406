//! Serving clients, however many there are and whatever they do.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use hyper::{Request, body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    net::UnixListener,
    sync::Semaphore,
    time::{sleep, timeout},
};

/// Clients that are served at once; more wait until one has gone.
const CLIENTS: usize = 128;
/// How long a client may take to say what it wants.
const HEADER_TIME: Duration = Duration::from_secs(5);
/// How long requests under way may take when the agent is told to end.
const GRACE: Duration = Duration::from_secs(5);
/// Between two attempts when no client can be accepted, for want of
/// descriptors for instance.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` on `listener` until `end` comes true, then waits for the
/// requests that are under way.
pub async fn serve(listener: UnixListener, router: Router, end: impl Future<Output = ()>) {
    let connections = GracefulShutdown::new();
    tokio::select! {
        never = accept(listener, router, &connections) => match never {},
        () = end => {}
    }
    if timeout(GRACE, connections.shutdown()).await.is_err() {
        tracing::warn!("requests still under way are left");
    }
}

async fn accept(
    listener: UnixListener,
    router: Router,
    connections: &GracefulShutdown,
) -> Infallible {
    let places = Arc::new(Semaphore::new(CLIENTS));
    let mut http = http1::Builder::new();
    // One request a connection: clients that keep theirs would keep others out.
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIME).keep_alive(false);
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        let stream = match listener.accept().await {
            Ok((stream, _)) => TokioIo::new(stream),
            Err(error) => {
                tracing::warn!(%error, "a client could not be accepted");
                sleep(PAUSE).await;
                continue;
            }
        };
        let router = router.clone();
        let service = tower::service_fn(move |request: Request<Incoming>| {
            tower::Service::call(&mut router.clone(), request.map(Body::new))
        });
        let connection =
            connections.watch(http.serve_connection(stream, TowerToHyperService::new(service)));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a client went away early");
            }
            drop(place);
        });
    }
}
