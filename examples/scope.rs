//! Puts a child into a limited scope, shows what the kernel holds, and stops it: the main job, from end to end.

use std::error::Error;
use std::fs;
use std::process::Command;
use std::time::Duration;

use unitwait::{Manager, Scope};

const MEMORY: u64 = 64 << 20;
const TASKS: u64 = 20;

fn main() -> Result<(), Box<dyn Error>> {
    env_logger::init();
    let manager = Manager::system()?;
    println!("systemd {}, {} control groups", manager.version(), manager.layout().mode());

    let mut child = Command::new("sleep").arg("600").spawn()?;
    let scope = Scope::new(format!("try-{}.scope", child.id()))
        .pid(child.id())
        .slice("try.slice")
        .memory_max(MEMORY)
        .tasks_max(TASKS);
    let active = manager.create_scope(&scope, Duration::from_secs(10))?;
    println!("{} is active in {}", active.unit(), active.control_group());
    let stages = active.stages();
    println!(
        "queued {:.2?}, accepted {:.2?}, done {:.2?}, verified {:.2?}",
        stages.queued, stages.accepted, stages.done, stages.verified
    );
    for (controller, files) in
        [("memory", ["memory.max", "memory.limit_in_bytes"]), ("pids", ["pids.max", ""])]
    {
        let Some(directory) = active.controller_path(controller) else { continue };
        for file in files.iter().filter(|file| !file.is_empty()) {
            if let Ok(held) = fs::read_to_string(directory.join(file)) {
                println!("{file}: {}", held.trim());
            }
        }
    }
    for gap in active.limit_gaps() {
        println!("not in force: {gap}");
    }

    active.stop(Duration::from_secs(10))?;
    println!("stopped: {}", child.wait()?);
    println!("unitwait: ok");
    Ok(())
}
