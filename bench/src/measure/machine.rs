//! The machine a report comes from: kernel, processor, memory. What the kernel does not tell stays empty or 0.

use std::collections::BTreeSet;
use std::fs;

use crate::report::model::Machine;

/// Describes the machine this process runs on. Nothing here fails: a field that cannot be read is empty or 0.
pub fn machine() -> Machine {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = text("/proc/cpuinfo");
    Machine {
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        cpu: cpu_name(&cpuinfo),
        cores: cores(),
        governor: governor(),
        memory_bytes: memory_bytes(&text("/proc/meminfo")),
        virtual_machine: has_hypervisor(&cpuinfo),
    }
}

/// Processors this process may run on, or of the machine when the kernel does not say.
fn cores() -> u32 {
    match rustix::thread::sched_getaffinity(None) {
        Ok(set) => set.count(),
        Err(_) => std::thread::available_parallelism().map_or(0, |n| n.get() as u32),
    }
}

/// The first of the names that kernels give a processor; ARM machines have no `model name`.
fn cpu_name(cpuinfo: &str) -> String {
    let names = ["model name", "Model", "cpu model", "cpu", "Hardware", "uarch"];
    let found = names
        .iter()
        .find_map(|name| field(cpuinfo, name).filter(|value| !value.is_empty()));
    let arm = || field(cpuinfo, "CPU part").map(|part| format!("{} part {part}", std::env::consts::ARCH));
    let name = found.map(str::to_owned).or_else(arm);
    name.unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

fn has_hypervisor(cpuinfo: &str) -> bool {
    field(cpuinfo, "flags").is_some_and(|flags| flags.split_whitespace().any(|flag| flag == "hypervisor"))
}

fn memory_bytes(meminfo: &str) -> u64 {
    let kib = field(meminfo, "MemTotal")
        .and_then(|value| value.split_whitespace().next())
        .and_then(|number| number.parse::<u64>().ok());
    kib.unwrap_or(0).saturating_mul(1024)
}

/// The value of the first line `name : value`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim_end() == name).then(|| value.trim())
    })
}

/// The governor of all processors; several, when they differ.
fn governor() -> String {
    let Ok(entries) = fs::read_dir("/sys/devices/system/cpu/cpufreq") else {
        return String::new();
    };
    let governors: BTreeSet<String> = entries
        .filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("scaling_governor")).ok())
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .collect();
    governors.into_iter().collect::<Vec<_>>().join("+")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_processor_by_whatever_name_it_has() {
        let x86 = "processor\t: 0\ncpu family\t: 26\nmodel\t\t: 2\nmodel name\t: AMD EPYC\nflags\t\t: fpu hypervisor lm\n";
        assert_eq!(cpu_name(x86), "AMD EPYC");
        assert!(has_hypervisor(x86));
        let bare = "model name\t: Xeon\nflags\t\t: fpu hypervisors\nbugs\t: hypervisor\n";
        assert!(!has_hypervisor(bare));
        assert_eq!(
            cpu_name("processor : 0\nModel\t: Raspberry Pi 5\n"),
            "Raspberry Pi 5"
        );
        assert!(cpu_name("CPU part\t: 0xd0c\n").ends_with("part 0xd0c"));
        assert_eq!(cpu_name(":::\n\0\nmodel name\n"), std::env::consts::ARCH);
    }

    #[test]
    fn reads_memory_and_survives_nonsense() {
        assert_eq!(
            memory_bytes("MemFree: 1 kB\nMemTotal:       49368200 kB\n"),
            49368200 * 1024
        );
        for hostile in ["", "MemTotal", "MemTotal:", "MemTotal: -1 kB", "MemTotal: x kB"] {
            assert_eq!(memory_bytes(hostile), 0, "{hostile}");
        }
        assert_eq!(memory_bytes("MemTotal: 18446744073709551615 kB"), u64::MAX);
    }

    #[test]
    fn this_machine_has_a_kernel_a_processor_and_memory() {
        let machine = machine();
        assert!(!machine.kernel.is_empty() && !machine.cpu.is_empty());
        assert!(machine.cores >= 1 && machine.memory_bytes > 1 << 20);
    }
}
