//! `ila-agent`: the daemon of a host.

use std::{
    fs,
    future::poll_fn,
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use ila_agent::{
    api,
    config::Config,
    datapath::{self, Datapath, Events},
    desired,
    enrol::{self, admit::Admission},
    error::Refusal,
    lifecycle::{self, Lifecycle},
    memory,
    mesh::Joining,
    monitor::Monitor,
    netlink::{self, Interface, Links},
    owner::Owner,
    routes,
    runtime_dir::RuntimeDir,
    store::Store,
    uplinks::{self, Uplinks},
};
use ila_proto::{
    addr::Address,
    api::{DEFAULT_CONFIG, ErrorReply},
};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// The smallest packet that every IPv6 link carries (RFC 8200 section 5).
const MIN_MTU: u32 = 1280;

/// How long an agent that was killed may take to close what it had open.
const CLOSING: Duration = Duration::from_secs(2);

/// Capabilities without which nothing here works, by their bit (capability.h).
const CAPABILITIES: [(&str, u32); 3] =
    [("CAP_NET_ADMIN", 12), ("CAP_SYS_ADMIN", 21), ("CAP_BPF", 39)];

/// Gives the containers of this host addresses that stay theirs wherever they
/// run: loads the kernel programs and serves ila-ctl.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Args {
    /// The configuration file
    #[arg(long, default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// Check the configuration and end
    #[arg(long)]
    check: bool,
    /// Take the programs off all interfaces and end: they stay there, and go on translating, after
    /// an agent has ended
    #[arg(long, conflicts_with = "check")]
    detach: bool,
    /// Without one, the agent serves
    #[command(subcommand)]
    verb: Option<enrol::cli::Verb>,
}

fn main() -> ExitCode {
    memory::share_heap();
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
    if let Some(verb) = &args.verb {
        return enrol::run(verb);
    }
    let config = Config::read(&args.config)?;
    if args.check {
        println!("{}: ok", args.config.display());
        return Ok(());
    }
    check_capabilities()?;
    if args.detach {
        let detached = Datapath::remove(&config.bpf_dir)?;
        println!("{}: {} interfaces detached", config.bpf_dir.display(), detached.len());
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(serve(config));
    // Whatever still runs, a stuck client's connection for one, ends with us.
    runtime.shutdown_background();
    result
}

async fn serve(config: Config) -> Result<()> {
    // Caught before anything is done, so that everything is undone in order.
    let told_to_end = told_to_end()?;
    // First whatever can be refused, then what changes the host.
    let links = Links::open()?;
    let uplinks = find_uplinks(&links, &config).await?;
    let mtu = packet_size(&uplinks)?;
    let address = find_address(&links, &config, &uplinks).await?;
    let hook = config.hook.unwrap_or_else(datapath::best_hook);
    let runtime_dir = RuntimeDir::lock(&config.runtime_dir)?;
    let store = Store::open(runtime_dir.path())?;
    let records = store.read_all()?;
    lifecycle::check_prefixes(&records, &config.domains).map_err(explain)?;
    let joining = join(&config, address).await?;
    let listener = runtime_dir.listen()?;

    let served = async {
        let constants = desired::host_config(&config, &uplinks, address);
        let mut datapath = Datapath::open(&constants, hook, &config.bpf_dir, &config.uplinks)?;
        let events = Events::of(&mut datapath.tables)?;
        prepare_host(&links, &config).await?;
        let (node, has_choice) = (config.node.clone(), config.uplinks.len() > 1);
        let named = Uplinks::new(config.uplinks.iter().cloned().zip(uplinks));
        let home = joining.as_ref().map(|it| it.certified().home.clone()).unwrap_or_default();
        let owner = Owner::new(config, named, datapath, store, mtu)?.at_home_in(&home);
        let (owner, owner_task) = owner.run();
        let monitor = Monitor::start(owner.clone(), events);
        tokio::spawn(uplinks::watch(links.clone(), owner.clone(), Links::changes()?));
        if !has_choice {
            tokio::spawn(routes::watch(links.clone(), owner.clone(), Links::routing_changes()?));
        }
        let mut lifecycle = Lifecycle { owner, links, mesh: None };
        lifecycle.adopt(records, mtu, joining).await.map_err(explain)?;
        let mesh = lifecycle.mesh.clone();
        memory::give_back();
        tracing::info!(%node, ?hook, mtu, "ready");
        let owner = lifecycle.owner.clone();
        let end = async {
            told_to_end.await;
            monitor.close();
            // If the owner is gone, so are its watchers.
            let _ = owner.call(Owner::end_changes).await;
        };
        api::serve(listener, api::router(lifecycle, monitor.clone()), end).await;
        if let Some(mesh) = mesh {
            mesh.leave().await;
        }
        // Between two calls, never in one. What is attached stays.
        owner_task.abort();
        let _ = owner_task.await;
        tracing::info!("ended; packets flow on");
        Ok(())
    }
    .await;
    runtime_dir.remove_socket()?;
    served
}

/// Finds the mesh, if the host is in one. Of an agent that was killed the lock may
/// go a moment before the port.
async fn join(config: &Config, address: Option<Address>) -> Result<Option<Joining>> {
    let Some(mesh) = &config.mesh else { return Ok(None) };
    let node = (config.node.as_str(), &config.domains[..]);
    let admission = Admission::of(config)?.map(Arc::new);
    let started = Instant::now();
    loop {
        match Joining::start(mesh, node, &config.state_dir, address, admission.clone()) {
            Err(error) if error.is_port_taken() && started.elapsed() < CLOSING => {
                tokio::time::sleep(CLOSING / 100).await;
            }
            joining => return Ok(Some(joining?)),
        }
    }
}

/// Changes what must be otherwise on the host for packets to pass.
async fn prepare_host(links: &Links, config: &Config) -> Result<()> {
    enable_forwarding(&config.uplinks)?;
    ignore_dead_uplinks(&config.uplinks)?;
    let locators: Vec<_> = config.domains.iter().map(|domain| domain.locator).collect();
    Ok(links.end_here(&locators).await?)
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
    // In a user namespace of its own a process has every capability, and none
    // that counts for the kernel's programs and maps.
    let identity = fs::read_to_string("/proc/self/uid_map")?;
    if identity.split_whitespace().ne(["0", "0", "4294967295"]) {
        bail!("no privilege: this is a user namespace; run ila-agent as root of the host");
    }
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

/// Looks at the underlay interfaces.
async fn find_uplinks(links: &Links, config: &Config) -> Result<Vec<Interface>> {
    let mut uplinks = Vec::new();
    for uplink in &config.uplinks {
        let interface =
            links.interface(uplink).await.with_context(|| format!("`uplinks` names `{uplink}`"))?;
        if !interface.ethernet {
            bail!("`uplinks` names `{uplink}`, which is no Ethernet interface");
        }
        uplinks.push(interface);
    }
    Ok(uplinks)
}

/// The packet size that all uplinks carry.
fn packet_size(uplinks: &[Interface]) -> Result<u32> {
    let mtu = uplinks.iter().map(|uplink| uplink.mtu).min().unwrap_or_default();
    if mtu < MIN_MTU {
        bail!("an uplink carries packets of {mtu} bytes at most; IPv6 needs {MIN_MTU}");
    }
    Ok(mtu)
}

/// The address that the host has in the underlay. One that could be a
/// container's ILA address is not: what is sent there does not reach the host.
async fn find_address(
    links: &Links,
    config: &Config,
    uplinks: &[Interface],
) -> Result<Option<Address>> {
    let mut found = None;
    for uplink in uplinks {
        for address in links.global_addresses(uplink.index).await?.into_iter().map(Address::from) {
            if desired::is_ila(&config.domains, address) {
                tracing::warn!(
                    address = %std::net::Ipv6Addr::from(address),
                    "an uplink has an address under the locator that is taken for a container's: \
                     nobody reaches the host by it; give it one whose fifth group is 1fff or less"
                );
            } else {
                found = found.or(Some(address));
            }
        }
    }
    if found.is_some() {
        return Ok(found);
    }
    tracing::warn!(
        "no uplink has a global address: senders on other hosts will not be told \
         when their packets cannot be delivered here"
    );
    Ok(None)
}

/// Lets the host route between containers and uplinks.
fn enable_forwarding(uplinks: &[ila_proto::api::InterfaceName]) -> Result<()> {
    const FORWARDING: &str = "/proc/sys/net/ipv6/conf/all/forwarding";
    if fs::read_to_string(FORWARDING)?.trim() != "0" {
        // Each interface has a setting of its own, which may be another.
        for uplink in uplinks {
            let settings = Path::new("/proc/sys/net/ipv6/conf").join(uplink.as_str());
            if fs::read_to_string(settings.join("forwarding"))?.trim() == "0" {
                set_if(&settings.join("accept_ra"), "1", "2")?;
                set_if(&settings.join("forwarding"), "0", "1")?;
            }
        }
        return Ok(());
    }
    // A host that forwards ignores router advertisements unless told not to,
    // and would lose the default route that it learned from them. Containers'
    // links are no place to learn one from.
    for entry in fs::read_dir("/proc/sys/net/ipv6/conf")? {
        let interface = entry?;
        let name = interface.file_name();
        if !netlink::is_host_interface(&name.to_string_lossy())
            && name != "all"
            && name != "default"
        {
            set_if(&interface.path().join("accept_ra"), "1", "2")?;
        }
    }
    set_if(Path::new(FORWARDING), "0", "1")
}

/// Has the host know no route over an uplink without carrier, as it knows none
/// over one that is down: the programs then find another, or tell the sender.
fn ignore_dead_uplinks(uplinks: &[ila_proto::api::InterfaceName]) -> Result<()> {
    for uplink in uplinks {
        let settings = Path::new("/proc/sys/net/ipv6/conf").join(uplink.as_str());
        set_if(&settings.join("ignore_routes_with_linkdown"), "0", "1")?;
    }
    Ok(())
}

fn set_if(setting: &Path, found: &str, wanted: &str) -> Result<()> {
    let failed = || format!("cannot set {}", setting.display());
    if fs::read_to_string(setting).with_context(failed)?.trim() == found {
        fs::write(setting, wanted).with_context(failed)?;
        tracing::info!(setting = %setting.display(), wanted, "kernel setting changed");
    }
    Ok(())
}
