//! No core dumps: this process holds credentials in clear, and a dump would lay them down on a disk.

use rustix::process::{Resource, Rlimit, setrlimit};

/// Switches them off for this process and all that it starts. The limit alone does not hold for a dump that the kernel
/// hands to a program (`core_pattern` with `|`): for Linux the process says by itself that it is none of its business,
/// which also keeps other processes of the same user from reading its memory. Lowering a limit of one's own is refused
/// nowhere but in sandboxes, where dumps are not ours to decide on.
pub fn switch_off() {
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}
