//! `ila-agent`: the daemon of a host.

use std::{
    fs,
    future::poll_fn,
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
    process::ExitCode,
    task::Poll,
};

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use ila_agent::{
    api,
    config::Config,
    datapath::{self, Datapath, Role},
    error::Refusal,
    lifecycle::{self, Lifecycle},
    netlink::Links,
    owner::Owner,
    runtime_dir::RuntimeDir,
    store::Store,
};
use ila_proto::api::{DEFAULT_CONFIG, ErrorReply};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// The smallest packet that every IPv6 link carries (RFC 8200 section 5).
const MIN_MTU: u32 = 1280;

/// Capabilities without which nothing here works, by their bit (capability.h).
const CAPABILITIES: [(&str, u32); 3] =
    [("CAP_NET_ADMIN", 12), ("CAP_SYS_ADMIN", 21), ("CAP_BPF", 39)];

/// Gives the containers of this host addresses that stay theirs wherever they
/// run: loads the kernel programs and serves ila-ctl.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// The configuration file
    #[arg(long, default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// Check the configuration and end
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_env("ILA_LOG").unwrap_or_else(|_| EnvFilter::new("info")),
        )
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .init();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let config = Config::read(&args.config)?;
    if args.check {
        println!("{}: ok", args.config.display());
        return Ok(());
    }
    check_capabilities()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(serve(config));
    // Whatever still runs, a stuck client's connection for one, ends with us.
    runtime.shutdown_background();
    result
}

async fn serve(config: Config) -> Result<()> {
    // Caught before anything is done, so that everything is undone in order.
    let told_to_end = told_to_end()?;
    let runtime_dir = RuntimeDir::lock(&config.runtime_dir)?;
    let store = Store::open(runtime_dir.path())?;
    lifecycle::check_prefix(&store.read_all()?, config.sir_prefix).map_err(explain)?;
    let links = Links::open()?;
    let mtu = check_uplinks(&links, &config).await?;

    enable_forwarding(&config)?;
    for prefix in [config.locator.bits(), config.sir_prefix.bits()] {
        links.end_here(prefix).await?;
    }
    for interface in links.interfaces().await? {
        datapath::remove_stale_filters(&interface);
    }
    let hook = config.hook.unwrap_or_else(datapath::best_hook);
    let mut datapath = Datapath::load(&config.host_config(), hook)?;
    for uplink in &config.uplinks {
        datapath.attach(uplink.as_str(), Role::Uplink)?;
    }
    let node = config.node.clone();
    let (owner, owner_task) = Owner::new(config, datapath, store, mtu)?.run();
    let lifecycle = Lifecycle { owner, links };
    lifecycle.adopt(mtu).await.map_err(explain)?;

    let listener = runtime_dir.listen()?;
    tracing::info!(%node, ?hook, mtu, "ready");
    api::serve(listener, api::router(lifecycle), told_to_end).await;
    runtime_dir.remove_socket()?;
    // Between two calls, never in one. The programs' links end with it.
    owner_task.abort();
    let _ = owner_task.await;
    tracing::info!("detached");
    Ok(())
}

/// Comes true with the first signal that asks the agent to end; a terminal
/// that closes is one.
fn told_to_end() -> Result<impl Future<Output = ()>> {
    let mut signals = Vec::new();
    for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()] {
        signals.push(signal(kind)?);
    }
    Ok(async move {
        poll_fn(|context| {
            let told = signals.iter_mut().any(|signal| signal.poll_recv(context).is_ready());
            if told { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        tracing::info!("told to end");
    })
}

fn explain(refusal: Refusal) -> anyhow::Error {
    let ErrorReply { message, hint, .. } = refusal.into();
    match hint {
        Some(hint) => anyhow::anyhow!("{message}; {hint}"),
        None => anyhow::anyhow!(message),
    }
}

/// Says which privilege is missing before a system call fails for want of it.
fn check_capabilities() -> Result<()> {
    let status = fs::read_to_string("/proc/self/status")?;
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
        .context("cannot tell which privileges this process has")?;
    let missing: Vec<_> = CAPABILITIES
        .iter()
        .filter(|(_, bit)| effective >> bit & 1 == 0)
        .map(|&(name, _)| name)
        .collect();
    if !missing.is_empty() {
        bail!("no privilege: {} missing; run ila-agent as root", missing.join(", "));
    }
    Ok(())
}

/// Looks at the underlay interfaces; returns the packet size that all carry.
async fn check_uplinks(links: &Links, config: &Config) -> Result<u32> {
    let mut mtu = u32::MAX;
    for uplink in &config.uplinks {
        let interface =
            links.interface(uplink).await.with_context(|| format!("`uplinks` names `{uplink}`"))?;
        if !interface.ethernet {
            bail!("`uplinks` names `{uplink}`, which is no Ethernet interface");
        }
        mtu = mtu.min(interface.mtu);
    }
    if mtu < MIN_MTU {
        bail!("an uplink carries packets of {mtu} bytes at most; IPv6 needs {MIN_MTU}");
    }
    Ok(mtu)
}

/// Lets the host route between containers and uplinks.
fn enable_forwarding(config: &Config) -> Result<()> {
    // A host that forwards ignores router advertisements unless told not to,
    // and would lose the default route that it learned from them.
    for uplink in &config.uplinks {
        let accept_ra = format!("/proc/sys/net/ipv6/conf/{uplink}/accept_ra");
        set_if(Path::new(&accept_ra), "1", "2")?;
    }
    set_if(Path::new("/proc/sys/net/ipv6/conf/all/forwarding"), "0", "1")
}

fn set_if(setting: &Path, found: &str, wanted: &str) -> Result<()> {
    let failed = || format!("cannot set {}", setting.display());
    if fs::read_to_string(setting).with_context(failed)?.trim() == found {
        fs::write(setting, wanted).with_context(failed)?;
        tracing::info!(setting = %setting.display(), wanted, "kernel setting changed");
    }
    Ok(())
}
