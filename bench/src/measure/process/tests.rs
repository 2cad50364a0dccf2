//! The sampler on folders made to look like `/proc`, and on this very process.

use super::*;

struct FakeProc(tempfile::TempDir);

impl FakeProc {
    fn new() -> FakeProc {
        let fake = FakeProc(tempfile::tempdir().unwrap());
        fs::create_dir_all(fake.0.path().join("7/task")).unwrap();
        fake.write(100, 50, 5, 1 << 20);
        fake
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.0.path().join("7").join(name), text).unwrap();
    }

    fn write(&self, user: u64, system: u64, started: u64, disk: u64) {
        self.put("status", "VmHWM: 4096 kB\nVmRSS: 2048 kB\n");
        self.put("io", &format!("read_bytes: {disk}\nwrite_bytes: {}\n", 2 * disk));
        let zeroes = "0 ".repeat(6);
        let stat = format!("7 (a) (b) S 1 7 7 0 -1 0 0 0 0 0 {user} {system} {zeroes}{started} 0");
        self.put("stat", &stat);
    }

    fn thread(&self, id: u32, switches: u64) {
        fs::create_dir_all(self.0.path().join(format!("7/task/{id}"))).unwrap();
        let text = format!("voluntary_ctxt_switches: {switches}\nnonvoluntary_ctxt_switches: 1\n");
        self.put(&format!("task/{id}/status"), &text);
    }

    fn end_thread(&self, id: u32) {
        fs::remove_dir_all(self.0.path().join(format!("7/task/{id}"))).unwrap();
    }

    fn start(&self) -> ProcessSampler {
        let mut sampler = ProcessSampler::start_in(self.0.path(), 7).unwrap();
        sampler.ticks_per_s = 100.0;
        sampler
    }
}

#[test]
fn counts_from_the_mark_on() {
    let fake = FakeProc::new();
    let mut sampler = fake.start();
    fake.write(300, 100, 5, 2 << 20);
    sampler.mark();
    fake.write(500, 200, 5, 5 << 20);
    sampler.sample();
    let used = sampler.finish(Some(1.5));
    assert_eq!(
        (used.user_s, used.system_s, used.cpu_s_per_gib),
        (2.0, 1.0, Some(2.0))
    );
    assert_eq!((used.disk_read_bytes, used.disk_write_bytes), (3 << 20, 6 << 20));
    assert_eq!((used.rss_bytes, used.peak_rss_bytes), (2 << 20, 4 << 20));
    assert_eq!(used.samples.len(), 1);
    assert_eq!(used.samples[0][2], 2.0);
    assert!(used.samples[0][1] > 0.0);
}

#[test]
fn no_gib_no_figure() {
    for gib in [None, Some(0.0)] {
        assert_eq!(FakeProc::new().start().finish(gib).cpu_s_per_gib, None);
    }
}

#[test]
fn threads_that_ended_keep_their_last_count() {
    let fake = FakeProc::new();
    fake.thread(7, 10);
    fake.thread(8, 100);
    let mut sampler = fake.start();
    sampler.mark();
    fake.thread(8, 150);
    sampler.sample();
    fake.end_thread(8);
    fake.thread(9, 5);
    sampler.sample();
    fake.thread(9, 2); // another thread with this number
    assert_eq!(sampler.finish(None).context_switches, 50 + 6 + 3);
}

#[test]
fn a_process_that_dies_midway_keeps_its_last_figures() {
    type Death = fn(&FakeProc);
    let deaths: [Death; 4] = [
        |fake| fs::remove_dir_all(fake.0.path().join("7")).unwrap(),
        |fake| fake.write(900, 900, 6, 0), // its number went to another process
        |fake| fake.put("stat", "7 (a) Z 1 7 7 0 -1 0 0 0 0 0 900 900 0 0 0 0 0 0 5 0"),
        |fake| fake.put("status", "Name: a\n"),
    ];
    for die in deaths {
        let fake = FakeProc::new();
        let mut sampler = fake.start();
        fake.write(200, 50, 5, 1 << 20);
        sampler.sample();
        die(&fake);
        sampler.sample();
        assert!(!sampler.is_alive());
        let used = sampler.finish(None);
        assert_eq!((used.user_s, used.system_s), (1.0, 0.0));
        assert_eq!((used.samples.len(), used.rss_bytes), (1, 2 << 20));
    }
}

#[test]
fn another_users_process_has_no_disk_bytes() {
    let fake = FakeProc::new();
    fs::remove_file(fake.0.path().join("7/io")).unwrap();
    let sampler = fake.start();
    assert!(!sampler.has_disk_bytes());
    assert_eq!(sampler.finish(None).disk_write_bytes, 0);
}

#[test]
fn what_cannot_be_watched_is_said() {
    let fake = FakeProc::new();
    let error = |pid| {
        ProcessSampler::start_in(fake.0.path(), pid)
            .err()
            .unwrap()
            .to_string()
    };
    assert_eq!(error(8), "process 8 cannot be watched: there is no such process");
    fake.put("stat", "nonsense");
    assert_eq!(error(7), "process 7 cannot be watched: /proc has an unknown form");
}

#[test]
fn this_process_works_and_has_memory() {
    let mut sampler = own().unwrap();
    sampler.mark();
    let begun = Instant::now();
    let mut numbers = 0u64;
    while begun.elapsed().as_millis() < 300 {
        numbers = std::hint::black_box(numbers + 1);
    }
    let used = sampler.finish(None);
    assert!(used.user_s + used.system_s > 0.05, "{used:?}");
    assert!(used.rss_bytes > 100_000 && used.peak_rss_bytes >= used.rss_bytes);
    assert_eq!(used.samples.len(), 1);
}
