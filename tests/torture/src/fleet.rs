//! The demo's processes: each is started again whenever it ends.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::Signal;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::book::{Book, End, FaultKind, Run};
use crate::demo::{Demo, Recipe, Role};
use crate::now;

/// Before a process that ended by itself is started again.
const PAUSE: Duration = Duration::from_millis(500);

/// A place for one process, and whoever is in it.
struct Slot {
    serves: bool,
    present: Mutex<Option<Target>>,
    orders: mpsc::Sender<Order>,
}

/// A process that serves or works now.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub(crate) run: usize,
    /// None of a worker.
    address: Option<SocketAddr>,
}

/// What shall happen to a process.
#[derive(Clone, Copy)]
pub(crate) enum Order {
    Kill { restart_after: Duration },
    Pause { kind: FaultKind, lasting: Duration },
    End,
}

/// All processes. They end with it.
pub(crate) struct Fleet {
    slots: Vec<Arc<Slot>>,
    tasks: JoinSet<()>,
}

impl Fleet {
    pub(crate) fn start(recipe: &Recipe, roles: &[Role], book: &Arc<Book>) -> Self {
        let mut tasks = JoinSet::new();
        let slots = roles.iter().enumerate().map(|(number, role)| {
            let (orders, inbox) = mpsc::channel(1);
            let slot = Arc::new(Slot {
                serves: *role != Role::Worker,
                present: Mutex::new(None),
                orders,
            });
            let keeper = Keeper {
                number,
                role: *role,
                recipe: recipe.clone(),
                book: Arc::clone(book),
                slot: Arc::clone(&slot),
                inbox,
            };
            tasks.spawn(keeper.keep());
            slot
        });
        Self {
            slots: slots.collect(),
            tasks,
        }
    }

    /// How many processes there are.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// A process that serves pages, waiting for one if need be; for a while.
    pub(crate) async fn any(&self, chance: &mut fastrand::Rng) -> Option<(SocketAddr, usize)> {
        for _ in 0..600 {
            let serving: Vec<_> = self
                .slots
                .iter()
                .filter(|slot| slot.serves)
                .filter_map(|slot| slot.look())
                .filter_map(|target| Some((target.address?, target.run)))
                .collect();
            if let Some(target) = chance.choice(serving) {
                return Some(target);
            }
            sleep(Duration::from_millis(100)).await;
        }
        None
    }

    /// Whether every process serves or works.
    pub(crate) fn is_whole(&self) -> bool {
        self.slots.iter().all(|slot| slot.look().is_some())
    }

    /// Does something to one process. Not while it is still busy with the last order.
    pub(crate) fn order(&self, slot: usize, order: Order) -> bool {
        let slot = self.slots.get(slot);
        slot.is_some_and(|slot| slot.look().is_some() && slot.orders.try_send(order).is_ok())
    }

    /// Ends all processes, well.
    pub(crate) async fn end(mut self) {
        for slot in &self.slots {
            let _ = slot.orders.send(Order::End).await;
        }
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Slot {
    fn look(&self) -> Option<Target> {
        *self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, target: Option<Target>) {
        *self.present.lock().unwrap_or_else(PoisonError::into_inner) = target;
    }
}

/// Keeps one slot filled.
struct Keeper {
    number: usize,
    role: Role,
    recipe: Recipe,
    book: Arc<Book>,
    slot: Arc<Slot>,
    inbox: mpsc::Receiver<Order>,
}

impl Keeper {
    async fn keep(mut self) {
        for life in 1_u32.. {
            let name = format!("{}-{}-{life}", self.role.name(), self.number);
            let log = self.recipe.log(&name);
            let Ok(demo) = self.recipe.start(self.role, 0, &log) else {
                sleep(PAUSE).await;
                continue;
            };
            let run = {
                let mut seen = self.book.open();
                seen.runs.push(Run {
                    process: demo.process,
                    ended: None,
                    end: None,
                    ready: false,
                    failed_requests: 0,
                    log,
                });
                seen.runs.len().saturating_sub(1)
            };
            let (end, pause) = self.accompany(demo, run).await;
            self.slot.put(None);
            if let Some(run) = self.book.open().runs.get_mut(run) {
                run.ended = Some(now());
                run.end = Some(end);
            }
            if end == End::Told {
                return;
            }
            sleep(pause).await;
        }
    }

    /// Stays with a process until it ends.
    async fn accompany(&mut self, mut demo: Demo, run: usize) -> (End, Duration) {
        let Ok((address, _)) = demo.ready().await else {
            let _ = demo.signal(Signal::KILL);
            demo.ended().await;
            return (End::ByItself, PAUSE);
        };
        if let Some(run) = self.book.open().runs.get_mut(run) {
            run.ready = true;
        }
        self.slot.put(Some(Target { run, address }));
        loop {
            let order = tokio::select! {
                order = self.inbox.recv() => order,
                _ = demo.ended() => return (End::ByItself, PAUSE),
            };
            match order {
                Some(Order::Kill { restart_after }) => {
                    let fault = self.book.fault(FaultKind::Killed, Some(run));
                    let _ = demo.signal(Signal::KILL);
                    demo.ended().await;
                    self.book.fault_over(fault);
                    return (End::Killed, restart_after);
                }
                Some(Order::Pause { kind, lasting }) => {
                    let fault = self.book.fault(kind, Some(run));
                    let _ = demo.signal(Signal::STOP);
                    sleep(lasting).await;
                    let _ = demo.signal(Signal::CONT);
                    self.book.fault_over(fault);
                }
                Some(Order::End) | None => {
                    let _ = demo.signal(Signal::TERM);
                    demo.ended().await;
                    return (End::Told, Duration::ZERO);
                }
            }
        }
    }
}
