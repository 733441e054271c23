//! The stand-ins read through the real rooms, policies and client, on a real port and in real time.

mod nodes;
mod prices;
