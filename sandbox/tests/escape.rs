//! Hostile programs try to get out. Each runs only inside the sandbox; the test holds what it must not reach.

mod common;

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command};

use common::{Lab, MIB, finish, forked, zygote};
use squall_sandbox::Level;

/// Runs Python with `need(what, ok)` at hand, executed and as a fork of a zygote; every line that it prints is a breach.
async fn breaches(lab: &Lab, script: &str) -> String {
    let prelude = "\
import os,sys,socket,errno,ctypes,signal,resource
libc=ctypes.CDLL(None,use_errno=True)
def need(ok,*what):
    if not ok: print('BREACH',*what,flush=True)
def fails(*what_and_call,codes=None):
    *what,call=what_and_call
    try: call()
    except OSError as e: need(codes is None or e.errno in codes,*what,'errno',e.errno)
    else: need(False,*what)
def refused(name,number,*args):
    r=libc.syscall(number,*args)
    need(r==-1 and ctypes.get_errno() in (errno.EPERM,errno.ENOSYS),name,r,ctypes.get_errno())
def opens(path,mode='rb'):
    return lambda: open(path,mode).read(1) if 'r' in mode else open(path,mode).close()
";
    let script = format!("{prelude}{script}\nprint('END',flush=True)");
    let zygote = zygote(lab).await;
    let mut found = String::new();
    for spec in [lab.python(&script), forked(lab, &zygote, &script)] {
        let (text, exit) = lab.run(spec).await;
        assert_eq!(exit.code, Some(0), "{exit:?}: {text}");
        found += text.strip_suffix("END\n").unwrap_or_else(|| panic!("did not finish: {text}"));
    }
    assert!(zygote.is_alive(), "it survives whatever a fork does");
    found
}

async fn check(script: &str) {
    let lab = Lab::start(Level::Full, 1).await;
    assert_eq!(breaches(&lab, script).await, "");
}

/// A process of the host, ended with the test.
struct Sleeper(Child);

impl Sleeper {
    fn start() -> Sleeper {
        Sleeper(Command::new("/bin/sleep").arg("1000").spawn().expect("sleep"))
    }
    fn lives(&mut self) -> bool {
        self.0.try_wait().expect("wait").is_none()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn host_files_are_out_of_reach() {
    let lab = Lab::start(Level::Full, 1).await;
    let other = lab.dir.path().join("other-function");
    std::fs::create_dir_all(&other).expect("directory");
    for path in [lab.dir.path().join("secret"), other.join("handler.py")] {
        std::fs::write(&path, "secret").expect("write");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("chmod");
    }
    let dir = lab.dir.path().display();
    let script = format!(
        "
for p in ['/etc/shadow','/etc/machine-id','{dir}/secret','{dir}/other-function/handler.py','/var/task/../../{dir}/secret',
          '/proc/1/root{dir}/secret','/proc/1/cwd/secret','/proc/1/environ','/proc/1/mem','/proc/1/maps','/proc/kcore','/proc/kmsg',
          '/proc/self/roo'+'t/..{dir}/secret','/var/task/link/secret','/dev/mem','/dev/kmsg','/dev/loop0','/dev/vda','/dev/sda','/dev/kvm','/dev/fuse']:
    fails('read',p,opens(p))
for p in ['/sys','/boot','/home/user','{dir}','/run/docker.sock','/old_root','/sys/fs/cgroup','/var/lib','/var/run']:
    need(not os.path.exists(p),'there is',p)
need(open('/proc/kallsyms').read()=='','kallsyms')
need(os.listdir('/root')==[] and os.listdir('/run')==[] and os.listdir('/opt')==[],'host directories')
need('root:' not in open('/etc/passwd').read(),'passwd')
"
    );
    std::os::unix::fs::symlink(lab.dir.path(), lab.code().join("link")).expect("link");
    assert_eq!(breaches(&lab, &script).await, "");
}

#[tokio::test]
async fn only_tmp_and_shared_memory_are_writable() {
    let script = "
for p in ['/x','/usr/x','/usr/bin/x','/var/task/x','/opt/x','/etc/x','/etc/passwd','/etc/hosts','/dev/x','/var/x','/home/sbx_user1051/x','/run/x',
          '/proc/sys/kernel/core_pattern','/proc/sys/kernel/hostname','/proc/sys/vm/drop_caches','/proc/sysrq-trigger','/proc/irq/default_smp_affinity',
          '/proc/1/oom_score_adj']:
    fails('write',p,opens(p,'wb'))
for p in ['/proc/self/uid_map','/proc/self/gid_map','/proc/self/setgroups','/proc/self/attr/current']:
    fails('write',p,lambda: os.write(os.open(p,os.O_WRONLY),b'0 0 1'))
for p in ['/usr/bin/env','/var/task','/','/dev/null','/tmp']:
    fails('chmod',p,lambda: os.chmod(p,0o777),codes=[errno.EPERM,errno.EROFS,errno.EACCES])
    fails('chown',p,lambda: os.chown(p,993,993),codes=[errno.EPERM,errno.EROFS,errno.EACCES])
for p in ['/tmp/x','/dev/shm/x']:
    open(p,'w').write('x')
fails('rename out',lambda: os.rename('/tmp/x','/var/x'))
fails('link out',lambda: os.link('/tmp/x','/x'))
fails('link in',lambda: os.link('/usr/bin/env','/tmp/env'))
os.rename('/tmp/x','/tmp/y'); os.mkdir('/tmp/d'); os.rename('/tmp/y','/tmp/d/y'); os.mkfifo('/tmp/fifo')
";
    check(script).await;
}

#[tokio::test]
async fn host_processes_cannot_be_seen_or_hit() {
    let mut sleeper = Sleeper::start();
    let lab = Lab::start(Level::Full, 1).await;
    let pid = sleeper.0.id();
    let script = format!(
        "
numbers=[int(n) for n in os.listdir('/proc') if n.isdigit()]
need(sorted(numbers)==sorted([1,os.getpid()]),'sees',numbers)
for pid in [{pid},{},os.getppid() or {pid}]:
    for sig in (0,9): fails('signal',pid,lambda: os.kill(pid,sig) if pid!=1 else os.kill({pid},sig))
need(os.getppid()==1,'parent',os.getppid())
signal.signal(signal.SIGTERM,signal.SIG_IGN)
for sig in (signal.SIGTERM,signal.SIGSTOP,signal.SIGKILL):
    try: os.kill(1,sig)
    except OSError: pass
",
        std::process::id()
    );
    assert_eq!(breaches(&lab, &script).await, "");
    assert!(sleeper.lives());
}

#[tokio::test]
async fn killing_everything_kills_only_the_sandbox() {
    let mut sleeper = Sleeper::start();
    let lab = Lab::start(Level::Full, 2).await;
    let bystander = lab.sandbox.spawn(lab.shell("echo alive; sleep 1000")).await.expect("spawn");
    let (_, exit) =
        lab.run(lab.python("import os\nif os.fork()==0: os.kill(-1,9)\nimport time; time.sleep(1000)")).await;
    assert_eq!(exit.signal, Some(libc::SIGKILL));
    assert!(sleeper.lives() && bystander.control.exit().is_none());
}

#[tokio::test]
async fn host_listeners_are_out_of_reach() {
    let lab = Lab::start(Level::Full, 2).await;
    let host = TcpListener::bind("127.0.0.1:0").expect("listen");
    let wide = TcpListener::bind("0.0.0.0:0").expect("listen");
    // One in a network namespace of the test's own: reaching it would mean that namespaces are shared.
    let (tell, told) = std::sync::mpsc::channel();
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let foreign = std::thread::spawn(move || {
        // SAFETY: changes only this thread's network namespace.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "these tests need root");
        Command::new("/bin/sh").args(["-c", "ip link set lo up || true"]).status().expect("sh");
        let listener = TcpListener::bind("127.0.0.1:0").or_else(|_| TcpListener::bind("0.0.0.0:0")).expect("listen");
        tell.send(listener.local_addr().expect("address").port()).expect("tell");
        let _ = held.recv();
        listener.set_nonblocking(true).expect("nonblocking");
        assert!(listener.accept().is_err(), "somebody connected to the foreign namespace");
    });
    let abstract_name = format!("squall-escape-{}", std::process::id());
    let address =
        <std::os::unix::net::SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(&abstract_name);
    let unix = std::os::unix::net::UnixListener::bind_addr(&address.expect("address")).expect("listen");
    let neighbour = lab.sandbox.spawn(lab.shell("sleep 1000")).await.expect("spawn");
    let ports = [
        host.local_addr().expect("address").port(),
        wide.local_addr().expect("address").port(),
        told.recv().expect("port"),
    ];
    let script = format!(
        "
for port in {ports:?}:
    for ip in ('127.0.0.1','127.0.0.2','0.0.0.0'):
        fails('connect',ip,port,lambda: socket.create_connection((ip,port),1))
    fails('connect6',port,lambda: socket.create_connection(('::1',port),1))
fails('abstract',lambda: socket.socket(socket.AF_UNIX).connect('\\0{abstract_name}'))
need([i for _,i in socket.if_nameindex() if i!='lo']==[],'interfaces',socket.if_nameindex())
need(len(open('/proc/net/route').read().splitlines())<=1,'routes')
s=socket.create_connection(('127.0.0.1',9001),1)
"
    );
    assert_eq!(breaches(&lab, &script).await, "");
    for listener in [&host, &wide, &neighbour.runtime_api] {
        listener.set_nonblocking(true).expect("nonblocking");
        assert!(listener.accept().is_err(), "somebody connected");
    }
    unix.set_nonblocking(true).expect("nonblocking");
    assert!(unix.accept().is_err(), "somebody connected");
    drop(hold);
    foreign.join().expect("foreign listener");
}

#[tokio::test]
async fn sockets_of_other_kinds_are_refused() {
    let script = "
for name,family,kind,proto in [('raw',2,3,1),('raw6',10,3,58),('packet',17,3,768),('packet dgram',17,2,768),('vsock',40,1,0),('netlink audit',16,3,9),
        ('netlink generic',16,3,16),('netfilter',16,3,12),('bluetooth',31,3,1),('alg',38,5,0),('xdp',44,3,0),('can',29,3,1),('key',15,3,2),('smc',43,1,0),('tipc',30,1,0)]:
    fails(name,lambda: socket.socket(family,kind,proto))
for family,kind in [(1,1),(1,2),(2,1),(2,2),(10,1),(16,3)]:
    socket.socket(family,kind,0).close()
";
    check(script).await;
}

#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn dangerous_system_calls_are_refused() {
    let script = "
buf=ctypes.create_string_buffer(4096)
for name,n,args in [('ptrace',101,(0,0,0,0)),('ptrace attach',101,(16,1,0,0)),('mount',165,(b'x',b'/tmp',b'tmpfs',0,0)),('bind mount',165,(b'/usr',b'/tmp',0,4096,0)),
        ('umount',166,(b'/tmp',2)),('remount',165,(0,b'/',0,32|4096,0)),('pivot_root',155,(b'/tmp',b'/tmp')),('chroot',161,(b'/tmp',)),('unshare user',272,(0x10000000,)),
        ('unshare net',272,(0x40000000,)),('unshare files',272,(0x400,)),('setns',308,(0,0)),('clone user',56,(0x10000011,0,0,0,0)),('clone pid',56,(0x20000011,0,0,0,0)),
        ('clone3',435,(buf,88)),('bpf',321,(0,buf,72)),('perf_event_open',298,(buf,0,-1,-1,0)),('userfaultfd',323,(0,)),('io_uring_setup',425,(8,buf)),
        ('keyctl',250,(0,-3,0)),('add_key',248,(b'user',b'a',b'b',1,-3)),('request_key',249,(b'user',b'a',0,-3)),('init_module',175,(buf,1,b'')),('finit_module',313,(0,b'',0)),
        ('delete_module',176,(b'loop',0)),('kexec_load',246,(0,0,0,0)),('kexec_file_load',320,(0,0,0,b'',0)),('open_by_handle_at',304,(0,buf,0)),('name_to_handle_at',303,(0,b'/',buf,buf,0)),
        ('process_vm_readv',310,(1,buf,0,buf,0,0)),('process_vm_writev',311,(1,buf,0,buf,0,0)),('kcmp',312,(1,1,0,0,0)),('swapon',167,(b'/tmp/x',0)),('reboot',169,(0xfee1dead,672274793,0x1234567,0)),
        ('sethostname',170,(b'x',1)),('settimeofday',164,(buf,0)),('clock_settime',227,(0,buf)),('adjtimex',159,(buf,)),('iopl',172,(3,)),('ioperm',173,(0,1,1)),('syslog',103,(3,buf,10)),
        ('acct',163,(b'/tmp/x',)),('quotactl',179,(0,b'',0,0)),('fanotify',300,(0,0)),('open_tree',428,(-100,b'/',1)),('move_mount',429,(-100,b'/',-100,b'/tmp',0)),
        ('fsopen',430,(b'tmpfs',0)),('mount_setattr',442,(-100,b'/',0,buf,32)),('pidfd_getfd',438,(0,0,0)),('modify_ldt',154,(0,buf,8)),('mknod device',133,(b'/tmp/d',0o20666,0x103)),
        ('mknodat block',259,(-100,b'/tmp/d',0o60666,0x700)),('memfd_secret',447,(0,)),('vhangup',153,()),('personality',135,(0x40000,)),('lsm',461,(buf,buf,0)),('x32 getpid',0x40000000+39,()),('unknown',9999,())]:
    refused(name,n,*args)
f=os.open('/tmp',0)
fails('TIOCSTI',lambda: __import__('fcntl').ioctl(f,0x5412,b'x'),codes=[errno.EPERM])
need(libc.syscall(438,0,0,0)==-1,'getfd')
";
    check(script).await;
}

#[tokio::test]
async fn there_is_no_privilege_to_gain() {
    let lab = Lab::start(Level::Full, 1).await;
    let suid = lab.code().join("suid");
    std::fs::copy("/usr/bin/id", &suid).expect("copy");
    std::fs::set_permissions(&suid, std::fs::Permissions::from_mode(0o6755)).expect("chmod");
    let script = "
import subprocess
need(subprocess.check_output(['/var/task/suid','-u'])==b'993\\n','suid binary')
status=dict(l.split(':\\t',1) for l in open('/proc/self/status').read().splitlines() if ':\\t' in l)
for cap in ('CapInh','CapPrm','CapEff','CapBnd','CapAmb'): need(int(status[cap],16)==0,cap,status[cap])
need(status['NoNewPrivs']=='1' and status['Seccomp']=='2','status')
need(status['Groups'].strip()=='','groups',status['Groups'])
need(os.getresuid()==(993,)*3 and os.getresgid()==(993,)*3,'ids')
inside,outside,count=map(int,open('/proc/self/uid_map').read().split())
need((inside,count)==(993,1),'uid_map',inside,outside,count)
for call in (os.setuid,os.seteuid,os.setgid,os.setegid): fails(call.__name__,lambda: call(0))
fails('setgroups',lambda: os.setgroups([0]))
need(resource.getrlimit(resource.RLIMIT_NOFILE)==(1024,1024),'nofile')
need(resource.getrlimit(resource.RLIMIT_CORE)==(1,1),'core')
need(int(open('/proc/self/oom_score_adj').read())>0,'oom score')
fails('nice',lambda: os.setpriority(os.PRIO_PROCESS,0,-5))
need(os.getsid(0)==os.getpid(),'session')
fails('realtime',lambda: os.sched_setscheduler(0,os.SCHED_FIFO,os.sched_param(50)))
";
    assert_eq!(breaches(&lab, script).await, "");
}

#[tokio::test]
async fn nothing_leaks_into_the_program() {
    let lab = Lab::start(Level::Full, 1).await;
    let mut spec = lab.shell("for f in /proc/self/fd/*; do echo ${f##*/}; done; tr '\\0' '\\n' < /proc/$$/environ; grep -E '^Sig(Blk|Ign)' /proc/self/status; cat <&0");
    spec.env = vec![("A".into(), "1".into()), ("B".into(), "x=y z".into())];
    let worker = lab.sandbox.spawn(spec).await.expect("spawn");
    let (text, _) = finish(worker).await;
    let zeroes = "0000000000000000";
    // 3 is the directory that the shell itself reads.
    assert_eq!(text.replace("\n3\n", "\n"), format!("0\n1\n2\nA=1\nB=x=y z\nSigBlk:\t{zeroes}\nSigIgn:\t{zeroes}\n"));
}

#[tokio::test]
async fn fork_bomb_hits_its_limit_and_dies_with_the_worker() {
    let lab = Lab::start(Level::Full, 1).await;
    let script = "
import os,time
n=0
while True:
    try:
        if os.fork()==0:
            while True:
                try: os.fork()
                except OSError: time.sleep(0.01)
        n+=1
    except OSError as e:
        print(e.errno,n,flush=True)
        time.sleep(1000)
";
    let mut spec = lab.python(script);
    spec.pids_max = 20;
    let worker = lab.sandbox.spawn(spec).await.expect("spawn");
    let mut output =
        tokio::net::unix::pipe::Receiver::from_owned_fd(worker.output.try_clone().expect("clone")).expect("pipe");
    let mut buffer = [0; 64];
    let n = tokio::io::AsyncReadExt::read(&mut output, &mut buffer).await.expect("read");
    let text = String::from_utf8_lossy(&buffer[..n]).into_owned();
    let (errno, forks) = text.trim().split_once(' ').expect("two numbers");
    assert_eq!(errno, libc::EAGAIN.to_string());
    assert!(forks.parse::<u32>().expect("number") < 20, "{text}");
    worker.kill();
    let (_, exit) = finish(worker).await;
    assert_eq!(exit.signal, Some(libc::SIGKILL));
}

#[tokio::test]
async fn threads_count_against_the_limit() {
    for level in [Level::Full, Level::Namespaces] {
        let lab = Lab::start(level, 1).await;
        let mut spec = lab.python("import threading,time\nn=0\ntry:\n while True: threading.Thread(target=time.sleep,args=(9,),daemon=True).start(); n+=1\nexcept RuntimeError: print(n,flush=True); import os; os._exit(0)");
        spec.pids_max = 10;
        assert_eq!(lab.run(spec).await.0, "9\n", "level {level}");
    }
}

#[tokio::test]
async fn shared_memory_is_small_and_memory_is_counted_there() {
    let lab = Lab::start(Level::Full, 1).await;
    let script = "n=0\ntry:\n f=open('/dev/shm/x','wb',0)\n while True: n+=f.write(bytes(1<<16))\nexcept OSError as e: print(e.errno,n>>20)";
    let (text, exit) = lab.run(lab.python(script)).await;
    assert_eq!((text, exit.oom), (format!("{} 16\n", libc::ENOSPC), false));
}

#[tokio::test]
async fn deleted_and_mapped_memory_is_counted_too() {
    let lab = Lab::start(Level::Full, 1).await;
    let mut spec = lab.python("import os\nf=os.memfd_create('x')\nwhile True: os.write(f,bytes(1<<20))");
    spec.memory_bytes = 64 * MIB;
    let (_, exit) = lab.run(spec).await;
    assert!(exit.oom, "{exit:?}");
}

#[tokio::test]
async fn workers_do_not_meet() {
    let lab = Lab::start(Level::Full, 2).await;
    let leave = "import ctypes;l=ctypes.CDLL(None);open('/tmp/a','w').write('x');open('/dev/shm/a','w').write('x');print(l.shmget(4242,4096,0o1666)>=0,flush=True);import time;time.sleep(1000)";
    let first = lab.sandbox.spawn(lab.python(leave)).await.expect("spawn");
    let mut output =
        tokio::net::unix::pipe::Receiver::from_owned_fd(first.output.try_clone().expect("clone")).expect("pipe");
    let mut buffer = [0; 8];
    let n = tokio::io::AsyncReadExt::read(&mut output, &mut buffer).await.expect("read");
    assert_eq!(&buffer[..n], b"True\n");
    let script = "
need(not os.path.exists('/tmp/a') and not os.path.exists('/dev/shm/a'),'files')
need(libc.shmget(4242,4096,0o666)==-1,'shared memory')
";
    assert_eq!(breaches(&lab, script).await, "");
    drop(first);
    // Nor does one find what an earlier one left.
    assert_eq!(breaches(&lab, script).await, "");
}
