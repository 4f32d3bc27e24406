//! Talking to the agent: HTTP over its unix socket, one request a connection.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::Shutdown,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use ila_proto::api::{ErrorReply, Versioned};
use serde::{Serialize, de::DeserializeOwned};
use ureq::{
    Agent, Body,
    config::Config,
    http::{Method, Request, Response},
    unversioned::{
        resolver::{ResolvedSocketAddrs, Resolver},
        transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport},
    },
};

use crate::ca;

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The agent said no.
    #[error("{}", .0.message)]
    Refused(ErrorReply),
    /// Nobody answers on the socket.
    #[error("the agent does not answer on {socket}: {reason}")]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// What happened instead.
        reason: String,
        /// Whether there is somebody who would not let us in.
        denied: bool,
    },
    /// Something answers, but not in our language.
    #[error("what answers on {socket} is no agent of this version: {reason}")]
    NotUnderstood {
        /// The socket.
        socket: PathBuf,
        /// What was wrong with the answer.
        reason: String,
    },
    /// What was waited for has not happened.
    #[error("the agent did not answer within {within}: {last}")]
    NotYet {
        /// How long was waited.
        within: humantime::FormattedDuration,
        /// What happened last.
        last: Box<ClientError>,
    },
    /// No agent was asked: the authority's folder does not allow it.
    #[error(transparent)]
    Ca(#[from] ca::Failure),
    /// The result could not be written where it was to go.
    #[error("cannot write the result: {0}")]
    Output(#[source] io::Error),
}

impl ClientError {
    /// What to type next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Refused(reply) => reply.hint.clone(),
            Self::Unreachable { denied: true, .. } => {
                Some("run ila-ctl as root or as a member of the group ila".to_owned())
            }
            Self::Unreachable { denied: false, .. } => Some(
                "start it as root with: ila-agent --config /etc/ila/agent.toml, \
                 or name its socket with --socket"
                    .to_owned(),
            ),
            Self::NotYet { last, .. } => last.hint(),
            Self::Ca(error) => error.hint(),
            Self::NotUnderstood { .. } | Self::Output(_) => None,
        }
    }
}

/// Whether to go on reading.
pub enum Go {
    /// There is more to be read.
    On,
    /// It is enough.
    Home,
}

/// An agent that can be asked.
pub struct Client {
    socket: PathBuf,
    agent: Agent,
}

impl Client {
    /// A client of the agent behind `socket`; connects with each request, and
    /// waits so long for the reply, or for ever.
    pub fn new(socket: &Path, reply_time: impl Into<Option<Duration>>) -> Self {
        let config = Config::builder()
            .http_status_as_error(false)
            .timeout_global(reply_time.into())
            .max_idle_connections(0)
            .build();
        let connector = UnixConnector { socket: socket.to_owned() };
        let agent = Agent::with_parts(config, connector, NoResolver);
        Self { socket: socket.to_owned(), agent }
    }

    /// Reads what is at `path`.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Versioned<T>, ClientError> {
        self.send(Method::GET, path, ())
    }

    /// Deletes what is at `path`.
    pub fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<Versioned<T>, ClientError> {
        self.send(Method::DELETE, path, ())
    }

    /// Sends `body` to `path`.
    pub fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Versioned<T>, ClientError> {
        let body =
            serde_json::to_vec(body).map_err(|error| self.not_understood(error.to_string()))?;
        self.send(Method::POST, path, body)
    }

    /// Reads what is at `path`, a value a line, and hands each on as it comes,
    /// until `each` says that it is enough or the agent ends.
    pub fn follow<T: DeserializeOwned>(
        &self,
        path: &str,
        mut each: impl FnMut(Versioned<T>) -> Result<Go, ClientError>,
    ) -> Result<(), ClientError> {
        let mut response = self.ask(Method::GET, path, ())?;
        let lines = BufReader::new(response.body_mut().as_reader()).lines();
        for line in lines {
            let line = line.map_err(|error| self.unreachable(error.into()))?;
            let value = serde_json::from_str(&line);
            match each(value.map_err(|error| self.not_understood(error.to_string()))?)? {
                Go::On => {}
                Go::Home => return Ok(()),
            }
        }
        Err(self.unreachable(io::Error::other("the agent has ended").into()))
    }

    fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: impl ureq::AsSendBody,
    ) -> Result<Versioned<T>, ClientError> {
        let mut response = self.ask(method, path, body)?;
        let text = response.body_mut().read_to_string().map_err(|error| self.unreachable(error))?;
        serde_json::from_str(&text).map_err(|error| self.not_understood(error.to_string()))
    }

    /// Sends a request; the reply is one that grants it.
    fn ask(
        &self,
        method: Method,
        path: &str,
        body: impl ureq::AsSendBody,
    ) -> Result<Response<Body>, ClientError> {
        // The host part is required by the grammar and means nothing here.
        let request = Request::builder().method(method).uri(format!("http://ila{path}"));
        let request = request.body(body).map_err(|error| self.not_understood(error.to_string()))?;
        let mut response = self.agent.run(request).map_err(|error| self.unreachable(error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let text = response.body_mut().read_to_string().map_err(|error| self.unreachable(error))?;
        let refusal: Versioned<ErrorReply> =
            serde_json::from_str(&text).map_err(|error| self.not_understood(error.to_string()))?;
        Err(ClientError::Refused(refusal.reply))
    }

    fn unreachable(&self, error: ureq::Error) -> ClientError {
        let (reason, denied) = match error {
            ureq::Error::Io(error) => {
                (error.to_string(), error.kind() == io::ErrorKind::PermissionDenied)
            }
            other => (other.to_string(), false),
        };
        ClientError::Unreachable { socket: self.socket.clone(), reason, denied }
    }

    fn not_understood(&self, reason: String) -> ClientError {
        ClientError::NotUnderstood { socket: self.socket.clone(), reason }
    }
}

/// There is one place to connect to, whatever the host part says.
#[derive(Debug)]
struct NoResolver;

impl Resolver for NoResolver {
    fn resolve(
        &self,
        _: &ureq::http::Uri,
        _: &Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        Ok(self.empty())
    }
}

#[derive(Debug)]
struct UnixConnector {
    socket: PathBuf,
}

impl Connector for UnixConnector {
    type Out = UnixTransport;

    fn connect(
        &self,
        details: &ConnectionDetails,
        _: Option<()>,
    ) -> Result<Option<UnixTransport>, ureq::Error> {
        let stream = UnixStream::connect(&self.socket)?;
        let config = details.config;
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        Ok(Some(UnixTransport { stream, buffers }))
    }
}

#[derive(Debug)]
struct UnixTransport {
    stream: UnixStream,
    buffers: LazyBuffers,
}

impl Transport for UnixTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.set_write_timeout(timeout.not_zero().map(|time| *time))?;
        self.stream.write_all(&self.buffers.output()[..amount]).map_err(in_time(timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.stream.set_read_timeout(timeout.not_zero().map(|time| *time))?;
        let read = self.stream.read(self.buffers.input_append_buf()).map_err(in_time(timeout))?;
        self.buffers.input_appended(read);
        Ok(read > 0)
    }

    fn is_open(&mut self) -> bool {
        // Connections are not kept, so nobody needs to know.
        false
    }
}

/// Sockets report a timeout as an operation that would block.
fn in_time(timeout: NextTimeout) -> impl Fn(io::Error) -> ureq::Error {
    move |error| match error.kind() {
        io::ErrorKind::WouldBlock => ureq::Error::Timeout(timeout.reason),
        _ => error.into(),
    }
}

impl Drop for UnixTransport {
    fn drop(&mut self) {
        // The agent may have closed its end first, which is as good.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}
