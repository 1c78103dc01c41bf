//! The spawner as a program of its own, for the tests and benches of this crate.

fn main() {
    squall_sandbox::spawner_main()
}
