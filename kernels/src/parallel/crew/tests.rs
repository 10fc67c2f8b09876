use super::*;
use rayon::{Scope, ThreadPool, ThreadPoolBuilder};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

fn pool(threads: usize) -> ThreadPool {
    ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

/// Runs jobs of every count in `counts`, `rounds` times over, with closures of their own, and checks after each that every chunk ran once in it.
fn stages(crew: &Crew<'_>, rounds: usize, counts: &[usize]) {
    let seen: Vec<AtomicUsize> = (0..counts.iter().max().copied().unwrap_or(0)).map(|_| AtomicUsize::new(0)).collect();
    for round in 0..rounds {
        for &count in counts {
            let (round, local) = (round + 1, AtomicUsize::new(0));
            crew.run(count, &|i| {
                local.fetch_add(i + round, Relaxed);
                seen[i].fetch_add(1, Relaxed);
            });
            // Chunk numbers and the closure's own round: a chunk run for another job would spoil one of the sums.
            assert_eq!(local.into_inner(), (0..count).map(|i| i + round).sum::<usize>());
            seen[..count].iter().for_each(|n| assert_eq!(n.swap(0, Relaxed), 1));
        }
    }
    assert!(seen.iter().all(|n| n.load(Relaxed) == 0));
}

/// None, one, as many as workers, more, and around the 64 shares; pools that are too small, right and too large, and no pool.
#[test]
fn every_chunk_runs_once() {
    let counts = [0, 1, 2, 3, 5, 63, 64, 65, 200];
    stages(&Crew::alone(), 2, &counts);
    for workers in [0, 1, 2, 3, 8, 64, 65, 100] {
        let body = |crew: &Crew<'_>| {
            assert_eq!(crew.workers(), workers.max(1));
            stages(crew, 20, &counts);
        };
        with_crew(workers, body);
        [1, 2, 3, 5].map(pool).iter().for_each(|pool| pool.install(|| with_crew(workers, body)));
    }
}

/// Tiny stages, so that claims race with the end of a job and the post of the next.
#[test]
fn thousands_of_stages() {
    for threads in [1, 2, 3] {
        for workers in [2, 3, 4] {
            pool(threads).install(|| with_crew(workers, |crew| stages(crew, 10_000, &[workers])));
        }
    }
}

/// Pauses of the leader and of chunks let the others go to sleep; every post and every last chunk has to wake them.
#[test]
fn sleepers_wake() {
    let pause = |i: usize| thread::sleep(Duration::from_micros([0, 40, 60, 300][i % 4]));
    pool(3).install(|| {
        with_crew(3, |crew| {
            for round in 0..200 {
                pause(round);
                let ran = AtomicUsize::new(0);
                crew.run(3, &|i| {
                    pause(round / 4 + i);
                    ran.fetch_add(1, Relaxed);
                });
                assert_eq!(ran.into_inner(), 3);
            }
        });
    });
}

/// What chunks write is there for the leader, and what it writes between jobs for the next chunks, without an atomic of the closure's.
#[test]
fn writes_are_seen() {
    let mut items = vec![0_u64; 3 * 5];
    pool(3).install(|| {
        with_crew(3, |crew| {
            for round in 1..5_000 {
                crate::parallel::over_chunks(crew, &mut items, 5, &|i, chunk| chunk.iter_mut().for_each(|v| *v += i as u64 + 1));
                assert!(items.chunks(5).enumerate().all(|(i, chunk)| chunk.iter().all(|v| *v == (i as u64 + 1) * round + (round - 1))));
                items.iter_mut().for_each(|v| *v += 1);
            }
        });
    });
}

/// Sessions of many hosts' threads on one pool, more threads than processors.
#[test]
fn many_crews_on_one_pool() {
    for threads in [1, 2, 3] {
        let pool = pool(threads);
        thread::scope(|scope| {
            for session in 0..8 {
                let pool = &pool;
                scope.spawn(move || {
                    for _ in 0..40 {
                        pool.install(|| with_crew(2 + session % 4, |crew| stages(crew, 10, &[2 + session % 4, 7])));
                    }
                });
            }
        });
    }
}

/// Far more threads than processors, in one crew and in many.
#[test]
fn oversubscribed() {
    let pool = pool(24);
    pool.install(|| with_crew(24, |crew| stages(crew, 300, &[24])));
    thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| (0..20).for_each(|_| pool.install(|| with_crew(24, |crew| stages(crew, 3, &[24, 2])))));
        }
    });
}

/// All other threads of the pool are held until the crew has ended: the leader does everything itself.
#[test]
fn helpers_never_come() {
    let (pool, begun, ended) = (pool(3), Barrier::new(3), Barrier::new(3));
    pool.scope(|scope: &Scope<'_>| {
        for _ in 0..2 {
            scope.spawn(|_| {
                begun.wait();
                ended.wait();
            });
        }
        begun.wait();
        with_crew(3, |crew| stages(crew, 100, &[3, 10]));
        ended.wait();
    });
}

/// The others come in the middle of the crew's life.
#[test]
fn helpers_come_late() {
    let (pool, begun, released) = (pool(3), Barrier::new(3), Barrier::new(3));
    pool.scope(|scope: &Scope<'_>| {
        for _ in 0..2 {
            scope.spawn(|_| {
                begun.wait();
                released.wait();
            });
        }
        begun.wait();
        with_crew(3, |crew| {
            stages(crew, 100, &[3]);
            released.wait();
            stages(crew, 5_000, &[3]);
        });
    });
}

/// Two chunks that wait for each other: with a free thread for each, both are begun.
#[test]
fn chunks_run_at_once() {
    let both = Barrier::new(2);
    pool(2).install(|| {
        with_crew(2, |crew| {
            (0..100).for_each(|_| {
                crew.run(2, &|_| {
                    both.wait();
                });
            });
        });
    });
}

fn message(payload: &(dyn Any + Send)) -> &str {
    payload.downcast_ref::<String>().map_or("", |s| s)
}

/// A panic of any chunk, or of several, comes out of `run` after the others have ended, and the crew goes on; out of the leader's closure it ends the crew.
#[test]
fn panics_reach_the_leader() {
    for threads in [1, 2, 3] {
        let pool = pool(threads);
        for bad in [&[0][..], &[1], &[2], &[0, 1, 2], &[70], &[1, 2, 70, 71]] {
            pool.install(|| {
                with_crew(3, |crew| {
                    for count in [3, 100] {
                        let ran = AtomicUsize::new(0);
                        let job = |i| {
                            assert!(!bad.contains(&i), "chunk {i}");
                            ran.fetch_add(1, Relaxed);
                        };
                        let result = catch_unwind(AssertUnwindSafe(|| crew.run(count, &job)));
                        match result {
                            Err(payload) => assert!(bad.iter().any(|i| message(&*payload) == format!("chunk {i}"))),
                            Ok(()) => assert!(bad.iter().all(|i| *i >= count)),
                        }
                        // Chunks of a share after a bad one do not run: at 100 chunks a share has two.
                        let lost = bad.iter().filter(|i| **i < count).count();
                        assert!((count.saturating_sub(2 * lost)..=count - lost).contains(&ran.into_inner()));
                        stages(crew, 10, &[3, 70]);
                    }
                });
            });
            let whole = catch_unwind(AssertUnwindSafe(|| {
                pool.install(|| with_crew(3, |crew| crew.run(3, &|i| assert!(!bad.contains(&i), "chunk {i}"))))
            }));
            assert_eq!(whole.is_err(), bad.iter().any(|i| *i < 3));
        }
        let outside = catch_unwind(AssertUnwindSafe(|| {
            pool.install(|| {
                with_crew(3, |crew| {
                    stages(crew, 10, &[3]);
                    panic!("between stages");
                })
            })
        }));
        assert!(outside.is_err());
    }
}
