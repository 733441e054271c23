//! Topics in Redis: publishing, and reading what is remembered.
//!
//! Everything of a topic is in one slot: its channel, its history (a stream whose ids are the offsets) and its numbering
//! (epoch and newest offset), which outlives the history, so that a quiet topic does not look like a lost one.

use std::{sync::LazyLock, time::Duration};

use bytes::Bytes;

use super::{
    History, Position,
    frame::{self, Frame, Stamp},
    gap::Gap,
    history,
};
use crate::{
    model::Chance,
    store::{Lane, Lua, Redis, RedisError, partition_of},
};

/// Most messages of a page.
pub(super) const PAGE: usize = 512;
/// How long a publisher waits for Redis.
const PUBLISH_WITHIN: Duration = Duration::from_millis(250);
/// How long reading a page may take.
const READ_WITHIN: Duration = Duration::from_secs(1);

static POST: LazyLock<Lua> = LazyLock::new(|| Lua::new("return redis.call(ARGV[1], KEYS[1], ARGV[2])"));
static PUBLISH: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("publish.lua")));
static SINCE: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("since.lua")));
static NEWEST: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("newest.lua")));

/// All topics.
#[derive(Clone)]
pub(super) struct Archive {
    redis: Redis,
    chance: Chance,
    publishing: Lane,
    reading: Lane,
}

/// One topic.
#[derive(Clone)]
pub(super) struct Shelf {
    archive: Archive,
    channel: String,
    history: String,
    numbering: String,
}

/// What is remembered after a place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// What is lost between the place and the first message below.
    pub(super) gap: Gap,
    /// In order; `None` for what cannot be read.
    pub(super) messages: Vec<(Position, Option<Frame>)>,
    /// The newest message of the topic, whether it is still remembered or not.
    pub(super) newest: Position,
    /// There may be more.
    pub(super) is_full: bool,
}

/// Epoch, newest offset, and offset and frame of each message.
type Answer = (Vec<u8>, u64, Vec<(u64, Vec<u8>)>);

impl Archive {
    pub(super) fn new(redis: Redis, chance: Chance) -> Self {
        let publishing = redis.lane("bus", PUBLISH_WITHIN);
        let reading = redis.lane("bus_history", READ_WITHIN);
        Self { redis, chance, publishing, reading }
    }

    pub(super) fn shelf(&self, topic: &str) -> Shelf {
        let tag = self.redis.partition_tag(partition_of(topic));
        let channel = self.redis.key(&format!("bus:{{{tag}}}:{topic}"));
        let (history, numbering) = (format!("{channel}:h"), format!("{channel}:m"));
        Shelf { archive: self.clone(), channel, history, numbering }
    }
}

impl Shelf {
    pub(super) fn channel(&self) -> &str {
        &self.channel
    }

    /// Publishes a message that is not remembered.
    pub(super) async fn post(&self, stamp: Stamp, message: &[u8]) -> Result<(), RedisError> {
        let Archive { redis, publishing, .. } = &self.archive;
        let frame = frame::unplaced(stamp, message);
        let args = [redis.publish_verb().as_bytes(), &frame];
        publishing.script::<u64>(&POST, &[&self.channel], &args).await.map(drop)
    }

    /// Remembers a message and publishes it.
    pub(super) async fn append(&self, history: History, stamp: Stamp, message: &[u8]) -> Result<(), RedisError> {
        let Archive { redis, chance, publishing, .. } = &self.archive;
        let History { messages, keep_for } = history;
        let keep_numbering = keep_for + history::KEEP_NUMBERING;
        let [messages, keep_for, keep_numbering] =
            [messages as u128, keep_for.as_millis(), keep_numbering.as_millis()].map(|number| number.to_string());
        let args = [
            redis.publish_verb().as_bytes(),
            &history::epoch(chance).to_be_bytes(),
            messages.as_bytes(),
            keep_for.as_bytes(),
            keep_numbering.as_bytes(),
            &[frame::VERSION],
            &frame::stamped(stamp, message),
        ];
        let keys = [self.channel.as_str(), &self.history, &self.numbering];
        publishing.script::<u64>(&PUBLISH, &keys, &args).await.map(drop)
    }

    /// What is remembered after `place`; everything, when that cannot be told.
    pub(super) async fn since(&self, place: Position) -> Result<Page, RedisError> {
        let (offset, page) = (place.offset.to_string(), PAGE.to_string());
        let args = [&place.epoch.to_be_bytes(), offset.as_bytes(), page.as_bytes()];
        let answer: Answer = self.archive.reading.script(&SINCE, &self.keys(), &args).await?;
        let mut page = Page::read(answer, PAGE)?;
        let before_first =
            page.messages.first().map_or(page.newest.offset, |(first, _)| first.offset.saturating_sub(1));
        page.gap = Gap::between(place, page.newest, before_first);
        Ok(page)
    }

    /// The newest message, if it is remembered.
    pub(super) async fn newest(&self) -> Result<Page, RedisError> {
        Page::read(self.archive.reading.script(&NEWEST, &self.keys(), &[]).await?, 1)
    }

    fn keys(&self) -> [&str; 2] {
        [&self.history, &self.numbering]
    }
}

impl Page {
    fn read((epoch, newest, messages): Answer, limit: usize) -> Result<Self, RedisError> {
        if epoch.is_empty() {
            return Ok(Self { gap: Gap::None, messages: Vec::new(), newest: Position::START, is_full: false });
        }
        let epoch: [u8; 8] =
            epoch.try_into().map_err(|_| RedisError::Unexpected("an epoch of another length".to_owned()))?;
        let epoch = u64::from_be_bytes(epoch);
        let is_full = messages.len() >= limit;
        let entry = |(offset, frame): (u64, Vec<u8>)| (Position { epoch, offset }, Frame::parse(&Bytes::from(frame)));
        let messages = messages.into_iter().map(entry).collect();
        Ok(Self { gap: Gap::None, messages, newest: Position { epoch, offset: newest }, is_full })
    }
}
