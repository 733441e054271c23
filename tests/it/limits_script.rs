//! The script, step by step beside the limiter that keeps its accounts in memory, on a clock that the test sets.

use std::time::Duration;

use tidegate::{
    config::LimitsConfig,
    limits::{Decision, Limiter},
    model::{Chance, Clock, Timestamp},
};
use tokio::time;

use crate::{
    harness::RedisServer,
    limits_node::{caller, demand, is_allowed},
};

const SCRIPT: &str = include_str!("../../src/limits/gcra.lua");

/// Tokens and pauses are whole multiples of this, so that no key expires by the server's own clock meanwhile.
const STEP: Duration = Duration::from_secs(10);

/// The script with a clock of our own: it begins at a time that has as many digits as the real one.
fn run(redis: &RedisServer, elapsed: Duration, draws: &[(u64, u64, u64)]) -> Vec<u64> {
    let clock = format!("{{ '{}', '0' }}", 1_790_000_000 + elapsed.as_secs());
    let script = SCRIPT.replace("redis.call('TIME')", &clock);
    assert_ne!(script, SCRIPT);
    let (keys, numbers): (Vec<String>, Vec<String>) = draws
        .iter()
        .enumerate()
        .map(|(number, (charge, most, known))| (format!("{{t}}{number}"), format!("{charge} {most} {known}")))
        .unzip();
    let count = draws.len().to_string();
    let mut command = vec!["EVAL", &*script, &count];
    command.extend(keys.iter().map(String::as_str));
    command.extend(numbers.iter().flat_map(|three| three.split(' ')));
    redis.cli(&command).lines().map(|line| line.trim_start_matches("(integer) ").parse().expect(line)).collect()
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap()
}

#[tokio::test]
async fn the_script_decides_as_the_memory_does() {
    let redis = RedisServer::start().await;
    time::pause();
    let limiter = Limiter::new(Clock::stepped_from(Timestamp::UNIX_EPOCH), &LimitsConfig::defaults());
    let chance = Chance::seeded(11);
    let pick = |below: u64| u32::try_from(chance.number() % below).unwrap();
    let policies = [("a", 7, STEP * 7), ("b", 3, STEP * 9)];
    let (mut elapsed, mut outcomes) = (Duration::ZERO, [0, 0]);
    for step in 0..300 {
        let pause = STEP * [0, 0, 1, 2, 20][pick(5) as usize];
        time::advance(pause).await;
        elapsed += pause;
        let costs = [pick(4), pick(4)];
        let demands = [0, 1].map(|i| demand(policies[i].0, policies[i].1, policies[i].2, costs[i]));
        let decision = limiter.check(&caller(1), &demands).await;

        let token = [0, 1].map(|i| micros(policies[i].2) / u64::from(policies[i].1));
        let draws = [0, 1].map(|i| (token[i] * u64::from(costs[i]), micros(policies[i].2), 0));
        let reply = run(&redis, elapsed, &draws);
        let debts: Vec<u64> = reply[1..].iter().map(|full_at| full_at - reply[0]).collect();
        let fits = (0..2).all(|i| debts[i] + draws[i].0 <= draws[i].1);
        assert_eq!(fits, is_allowed(&decision), "step {step}");
        let (Decision::Allowed { states } | Decision::Refused { states, .. }) = decision;
        for i in 0..2 {
            let debt = debts[i] + if fits { draws[i].0 } else { 0 };
            assert_eq!(micros(states[i].reset), debt, "step {step}");
            assert_eq!(u64::from(states[i].remaining), (draws[i].1 - debt) / token[i], "step {step}");
        }
        outcomes[usize::from(fits)] += 1;
    }
    assert!(outcomes.iter().all(|count| *count > 50), "{outcomes:?}");
}

#[tokio::test]
async fn what_a_node_knows_is_a_floor_and_never_more_than_a_window() {
    let redis = RedisServer::start().await;
    let now = 1_790_000_000_000_000;
    let at = Duration::from_secs;
    // Forgotten by the server, known to the node; a refusal writes it down as well.
    assert_eq!(run(&redis, at(0), &[(60_000_000, 100_000_000, now + 50_000_000)]), [now, now + 50_000_000]);
    assert_eq!(run(&redis, at(0), &[(50_000_000, 100_000_000, 0)]), [now, now + 50_000_000]);
    // A node that knows less changes nothing.
    assert_eq!(run(&redis, at(1), &[(0, 100_000_000, now + 70_000_000)]), [now + 1_000_000, now + 100_000_000]);
    // A clock that was set back forgives all but a window, and so does an overdrawn share.
    assert_eq!(run(&redis, at(0), &[(0, 20_000_000, 0)]), [now, now + 20_000_000]);
    assert_eq!(run(&redis, at(0), &[(0, 100_000_000, now + 900_000_000)]), [now, now + 100_000_000]);
    // What is long over is not written.
    redis.cli(&["FLUSHALL"]);
    assert_eq!(run(&redis, at(0), &[(0, 100_000_000, now - 1)]), [now, now]);
    assert_eq!(redis.cli(&["DBSIZE"]), "0");
    // A clock that was set back costs a window, which passes while the refused ask again.
    redis.cli(&["SET", "{t}0", &(now + 3_600_000_000).to_string()]);
    assert_eq!(run(&redis, at(0), &[(1, 100_000_000, 0)]), [now, now + 100_000_000]);
    assert_eq!(run(&redis, at(60), &[(1, 100_000_000, 0)]), [now + 60_000_000, now + 100_000_000]);
    // What somebody else wrote there is nothing that we know.
    for garbage in ["garbage", "nan", "-nan", "-inf", "-1"] {
        redis.cli(&["SET", "{t}0", garbage]);
        assert_eq!(run(&redis, at(0), &[(1, 1, 0)]), [now, now], "{garbage}");
    }
}
