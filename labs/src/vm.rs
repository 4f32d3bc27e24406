//! A machine with a kernel of its own, Linux 6.1, for what network namespaces
//! cannot show: they all share the kernel of this machine.
//!
//! `cargo xtask setup` unpacks Debian's packages of that kernel, of busybox
//! and, where this machine has none, of qemu; `ILA_SECOND_KERNEL` names the
//! folder. The machine boots from memory with the programs it is given and the
//! tools of this machine, and runs what it is told through a serial line.
//!
//! It is always emulated: what calls itself KVM inside a virtual machine may
//! accept a guest and never run it, and emulated it boots in six seconds.

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    os::{fd::AsRawFd as _, unix::process::CommandExt as _},
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use nix::sys::{prctl, signal::Signal};

use crate::{Error, Node, error::Doing as _, initrd::Initrd, programs};

/// The folder with kernel, modules, busybox and qemu.
const FOLDER: &str = "ILA_SECOND_KERNEL";

/// How long booting may take, on a machine that has much else to do.
const BOOT: Duration = Duration::from_secs(120);

/// What the machine can load; it finds by itself which it needs when. Some are
/// only there for 8021q.
const MODULES: [&str; 11] = [
    "8021q",
    "cls_bpf",
    "dummy",
    "e1000",
    "garp",
    "ila",
    "llc",
    "mrp",
    "sch_ingress",
    "stp",
    "veth",
];

/// Tools of this machine that the other one has as well, and how to get each;
/// busybox has the rest.
const TOOLS: [(&str, &str); 5] = [
    ("bash", "install it: apt-get install bash"),
    ("ethtool", "install it: apt-get install ethtool"),
    ("ip", "install it: apt-get install iproute2"),
    ("ping", "install it: apt-get install iputils-ping"),
    ("tc", "install it: apt-get install iproute2"),
];

/// How many lines of the kernel's last words an error repeats.
const TAIL_LINES: usize = 15;

/// What the serial line says when a command has ended, before its code.
const ENDED: &str = "ila-vm ended ";

/// The first process. It hands the second serial line to a shell. The first is
/// the kernel's console; the shell's own errors go there as well, for one that
/// has a terminal for them prompts.
const INIT: &str = "#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t bpf bpf /sys/fs/bpf
ln -s /proc/self/fd /dev/fd
depmod
modprobe e1000
exec </dev/ttyS1 >/dev/ttyS1 2>&1
stty raw -echo
export HOME=/ PATH=/programs:/bin
/programs/ip link set lo up
echo 'ila-vm ended 0'
/programs/bash 2>/dev/ttyS0
poweroff -f
";

/// Why a machine does not boot, or does not do what it is told.
#[derive(Debug, thiserror::Error)]
pub enum VmError {
    /// There is nothing to boot.
    #[error(
        "no second kernel: {0}; `cargo xtask setup` gets it, or says why it cannot, \
         and `cargo xtask test --only second-kernel` skips what needs it"
    )]
    NoKernel(String),
    /// It did not answer in time.
    #[error("the machine did not end `{doing}` in {after:?}; it said:\n{said}")]
    Silent {
        /// What it was told.
        doing: String,
        /// How long that could have taken.
        after: Duration,
        /// What it printed, and its kernel's last words.
        said: String,
    },
    /// qemu has ended.
    #[error("the machine stopped at `{doing}`; it said:\n{said}")]
    Stopped {
        /// What it was told.
        doing: String,
        /// What it printed, and its kernel's last words.
        said: String,
    },
    /// Something about this machine.
    #[error(transparent)]
    Here(#[from] Error),
}

/// A machine that runs. Dropped, it is switched off.
#[derive(Debug)]
pub struct Vm {
    qemu: Child,
    lines: Receiver<String>,
    console: Unnamed,
    _initrd: Unnamed,
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// How it ended.
    pub code: i32,
    /// What it printed, to either stream.
    pub said: String,
}

impl Vm {
    /// Boots a machine that has `programs` on its PATH. If it is given a node,
    /// its interface `eth0` is the other end of a tap there of the given name.
    pub fn boot(programs: &[&Path], uplink: Option<(&Node, &str)>) -> Result<Self, VmError> {
        let image = Image::find()?;
        let (console, initrd) = (Unnamed::new(&[])?, Unnamed::new(&image.initrd(programs)?)?);

        let mut command =
            uplink.map_or_else(|| Command::new(&image.qemu), |(node, _)| node.command(&image.qemu));
        command
            .env("LD_LIBRARY_PATH", &image.libraries)
            .args(["-no-user-config", "-nodefaults", "-display", "none", "-no-reboot"])
            .args(["-accel", "tcg", "-smp", "2", "-m", "1024"])
            .args(["-append", "console=ttyS0 quiet panic=-1"])
            .arg("-kernel")
            .arg(&image.kernel)
            .arg("-initrd")
            .arg(initrd.path())
            .arg("-serial")
            .arg(format!("file:{}", console.path()))
            .args(["-serial", "stdio"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if let Some((_, tap)) = uplink {
            command
                .arg("-netdev")
                .arg(format!("tap,id=uplink,ifname={tap},script=no,downscript=no"))
                .args(["-device", "e1000,netdev=uplink,romfile="]);
        }
        // Even if this process is killed.
        let end_with_parent = || Ok(prctl::set_pdeathsig(Signal::SIGKILL)?);
        // SAFETY: all that happens in the child is one system call; it takes
        // no lock and allocates nothing.
        unsafe { command.pre_exec(end_with_parent) };

        let mut qemu = command.spawn().doing(|| format!("run {}", image.qemu.display()))?;
        let stdout = BufReader::new(qemu.stdout.take().expect("it is piped"));
        let (sender, lines) = channel();
        thread::spawn(move || {
            let lines = stdout.split(b'\n').map_while(Result::ok);
            for line in lines.map(|line| String::from_utf8_lossy(&line).into_owned()) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut vm = Self { qemu, lines, console, _initrd: initrd };
        vm.answer("boot", BOOT)?;
        Ok(vm)
    }

    /// Runs a script of bash, which ends at the first command that fails, for
    /// `limit` at most.
    pub fn run(&mut self, script: &str, limit: Duration) -> Result<Answer, VmError> {
        let quoted = quote(script);
        let stdin = self.qemu.stdin.as_mut().expect("it is piped");
        writeln!(stdin, "bash -ec {quoted} </dev/null 2>&1; printf '\\n{ENDED}%d\\n' $?")
            .and_then(|()| stdin.flush())
            .doing(|| "speak to a machine".to_owned())?;
        self.answer(script, limit)
    }

    /// Collects what it says until it says how the command ended.
    fn answer(&mut self, doing: &str, limit: Duration) -> Result<Answer, VmError> {
        let start = Instant::now();
        let mut said = String::new();
        loop {
            let line = match self.lines.recv_timeout(limit.saturating_sub(start.elapsed())) {
                Ok(line) => line,
                Err(error) => {
                    let (doing, said) = (doing.to_owned(), said + &self.last_words());
                    return Err(match error {
                        RecvTimeoutError::Timeout => VmError::Silent { doing, after: limit, said },
                        RecvTimeoutError::Disconnected => VmError::Stopped { doing, said },
                    });
                }
            };
            if let Some(code) = line.strip_prefix(ENDED).and_then(|code| code.parse().ok()) {
                // The line feed that sets the code apart.
                said.pop();
                return Ok(Answer { code, said });
            }
            said.push_str(&line);
            said.push('\n');
        }
    }

    fn last_words(&self) -> String {
        let console = fs::read(self.console.path()).unwrap_or_default();
        let console = String::from_utf8_lossy(&console);
        let lines: Vec<_> = console.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        // It has not been waited for, so the number is still its own.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

/// A word that the shell takes as it is.
#[must_use]
pub fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A file that goes with this process, however that ends.
#[derive(Debug)]
struct Unnamed(File);

impl Unnamed {
    fn new(content: &[u8]) -> Result<Self, Error> {
        let written = tempfile::tempfile().and_then(|mut file| {
            file.write_all(content)?;
            Ok(file)
        });
        written.map(Self).doing(|| "write the files of a machine".to_owned())
    }

    /// Where qemu finds it.
    fn path(&self) -> String {
        format!("/proc/{}/fd/{}", process::id(), self.0.as_raw_fd())
    }
}

/// What there is to boot.
struct Image {
    kernel: PathBuf,
    version: String,
    modules: Vec<PathBuf>,
    busybox: PathBuf,
    qemu: PathBuf,
    libraries: OsString,
}

impl Image {
    fn find() -> Result<Self, VmError> {
        let folder = env::var_os(FOLDER).map(PathBuf::from);
        let folder = folder.ok_or_else(|| VmError::NoKernel(format!("{FOLDER} is not set")))?;
        let missing =
            |what: &str| VmError::NoKernel(format!("there is no {what} in {}", folder.display()));
        let version = fs::read_dir(folder.join("lib/modules")).ok();
        let version =
            version.and_then(|mut entries| entries.next()?.ok()?.file_name().into_string().ok());
        let version = version.ok_or_else(|| missing("kernel"))?;
        let module = |name: &str| find(&folder.join("lib/modules"), &format!("{name}.ko"));
        let modules = MODULES.map(|name| module(name).ok_or_else(|| missing(name)));
        let unpacked = folder.join("usr/bin/qemu-system-x86_64");
        let libraries = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];
        Ok(Self {
            kernel: folder.join("boot").join(format!("vmlinuz-{version}")),
            version,
            modules: modules.into_iter().collect::<Result<_, _>>()?,
            busybox: folder.join("bin/busybox"),
            libraries: env::join_paths(libraries.map(|it| folder.join(it))).unwrap_or_default(),
            qemu: if unpacked.is_file() { unpacked } else { "qemu-system-x86_64".into() },
        })
    }

    fn initrd(&self, own: &[&Path]) -> Result<Vec<u8>, Error> {
        let mut initrd = Initrd::default();
        for path in ["/dev", "/etc", "/proc", "/run", "/sys", "/tmp", "/var"] {
            initrd.add_directory(path);
        }
        initrd.add_link("/var/run", "/run");
        // The kernel looks for modprobe there.
        initrd.add_link("/sbin", "/bin");
        initrd.add_script("/init", INIT);
        initrd.add_file(Path::new("/bin/busybox"), &self.busybox)?;
        let modules = Path::new("/lib/modules").join(&self.version);
        for module in &self.modules {
            initrd.add_file(&modules.join(name(module)), module)?;
        }
        let tools = TOOLS.map(|(tool, hint)| programs::tool(tool, hint));
        for program in own.iter().map(|it| Ok((*it).to_owned())).chain(tools) {
            let program = program?;
            initrd.add_program(&Path::new("/programs").join(name(&program)), &program)?;
        }
        Ok(initrd.finish())
    }
}

fn name(path: &Path) -> &Path {
    path.file_name().map_or(path, Path::new)
}

/// The file called `name` in `folder` or below it.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    fs::read_dir(folder).ok()?.filter_map(Result::ok).find_map(|entry| {
        let path = entry.path();
        if path.is_dir() { find(&path, name) } else { (path.file_name()? == name).then_some(path) }
    })
}
