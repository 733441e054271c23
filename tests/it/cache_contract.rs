//! The scripts of the shared cache tier on a real Redis keep the contract that its model keeps.

use std::time::Duration;

use ::redis::{AsyncCommands, Client, Script, aio::MultiplexedConnection, cmd};
use futures_util::StreamExt;
use tokio::time::sleep;

use crate::harness::RedisServer;

#[path = "../../src/cache/shared/contract.rs"]
mod contract;

const NODES: [&str; 2] = ["0000000000000001", "0000000000000002"];
const KEYS: [&str; 2] = ["t:{c}:revoked", "t:{c}:revocations"];

struct Server {
    connection: MultiplexedConnection,
    messages: ::redis::aio::PubSubStream,
}

impl Server {
    async fn script(&mut self, code: &str, keys: &[&str], args: &[Vec<u8>]) -> Vec<u64> {
        let script = Script::new(code);
        let mut call = script.prepare_invoke();
        call.key(keys);
        for arg in args {
            call.arg(arg);
        }
        let answer: ::redis::Value = call.invoke_async(&mut self.connection).await.unwrap();
        match answer {
            ::redis::Value::Int(number) => vec![u64::try_from(number).unwrap()],
            answer => ::redis::from_redis_value(answer).unwrap(),
        }
    }
}

fn words(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

impl contract::Tier for Server {
    async fn revoke(&mut self, slots: &[u16]) -> (u64, u64) {
        let slots: Vec<String> = slots.iter().map(u16::to_string).collect();
        let mut args = words(&["PUBLISH", NODES[0]]);
        args.extend(slots.iter().map(|slot| slot.as_bytes().to_vec()));
        let answer = self.script(include_str!("../../src/cache/shared/revoke.lua"), &KEYS, &args).await;
        (answer[0], answer[1])
    }

    async fn table(&mut self, (epoch, clock): (u64, u64)) -> Vec<u64> {
        let args = words(&["PUBLISH", NODES[0], &epoch.to_string(), &clock.to_string()]);
        self.script(include_str!("../../src/cache/shared/table.lua"), &KEYS, &args).await
    }

    async fn heard(&mut self) -> String {
        let message: String = self.messages.next().await.unwrap().get_payload().unwrap();
        message.split_once(' ').unwrap().1.to_owned()
    }

    async fn put(&mut self, name: &str, envelope: &[u8], keep: Duration) -> bool {
        let args = [envelope.to_vec(), keep.as_millis().to_string().into_bytes()];
        self.script(include_str!("../../src/cache/shared/put.lua"), &[name], &args).await == [1]
    }

    async fn get(&mut self, name: &str) -> Option<Vec<u8>> {
        self.connection.get(name).await.unwrap()
    }

    async fn claim(&mut self, node: usize, name: &str, keep: Duration) -> bool {
        let millis = u64::try_from(keep.as_millis()).unwrap();
        let mut set = cmd("SET");
        set.arg(name).arg(NODES[node]).arg("NX").arg("PX").arg(millis);
        set.query_async::<Option<String>>(&mut self.connection).await.unwrap().is_some()
    }

    async fn is_claimed(&mut self, name: &str) -> bool {
        self.connection.exists(name).await.unwrap()
    }

    async fn release(&mut self, node: usize, name: &str) {
        self.script(include_str!("../../src/cache/shared/release.lua"), &[name], &words(&[NODES[node]])).await;
    }

    async fn forget_everything(&mut self) {
        cmd("FLUSHALL").exec_async(&mut self.connection).await.unwrap();
    }

    /// Redis ends keys by its own clock, which no test can step.
    async fn pass(&mut self, time: Duration) {
        sleep(time + Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn redis_keeps_the_contract() {
    let redis = RedisServer::start().await;
    let client = Client::open(redis.url()).unwrap();
    let (mut sink, messages) = client.get_async_pubsub().await.unwrap().split();
    sink.subscribe(KEYS[1]).await.unwrap();
    let connection = client.get_multiplexed_async_connection().await.unwrap();
    contract::check(&mut Server { connection, messages }).await;
}
