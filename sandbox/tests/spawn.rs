//! A worker starts, speaks, listens, ends.

mod common;

use common::Lab;
use squall_sandbox::Level;

#[tokio::test]
async fn program_runs_as_the_aws_user_in_its_own_world() {
    let lab = Lab::start(Level::Full, 1).await;
    std::fs::write(lab.code().join("hello.txt"), "from the code").expect("write");
    let script = "id -u; id -g; pwd; cat hello.txt; echo; env; hostname; exit 7";
    let (text, exit) = lab.run(lab.shell(script)).await;
    assert_eq!((exit.code, exit.signal, exit.oom), (Some(7), None, false));
    let expected = "993\n993\n/var/task\nfrom the code\nPATH=/usr/bin:/bin\nPWD=/var/task\nlocalhost\n";
    assert_eq!(text, expected);
    lab.sandbox.shutdown().await;
}
