//! Publishing to streams and consuming them; also fills the streams of the Python workloads.
//! Every measurement has a memory stream of its own and checks what it got.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, Consumer, pull, push};
use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::stream::{Config, StorageType, Stream};
use async_nats::jetstream::{self, Context};
use async_nats::{Client, Subject};
use bytes::Bytes;
use fastnats_native::args::Args;
use fastnats_native::usage::Stopwatch;
use fastnats_native::{Error, emit};
use futures_util::StreamExt;
use futures_util::future::try_join_all;
use serde_json::Value;

use crate::{WARM_UP, connect, payload, round_trip, subject};

const WINDOW: usize = 4_000;
const BATCH: u64 = 500;
/// Fewer than the messages the server queues for a stream before it refuses more.
const FILL_BATCH: u64 = 2_000;
const ACK_TIMEOUT: Duration = Duration::from_secs(30);

pub async fn run(args: &Args) -> Result<(), Error> {
    let client = connect(args, 1 << 20).await?;
    let context = jetstream::new(client.clone());
    let count: u64 = args.number("count", 100_000)?;
    let (size, subject) = (args.number("size", 128)?, subject(args));
    if args.mode == "js-fill" {
        fill(&context, &subject, count, payload(args)?, args.flag("numbered")).await?;
        return Ok(());
    }
    let name = format!("YARDSTICK_{}", std::process::id());
    let subject = format!("{subject}.{}", std::process::id());
    let stream = context
        .create_stream(Config {
            name: name.clone(),
            subjects: vec![subject.clone()],
            storage: StorageType::Memory,
            ..Config::default()
        })
        .await?;
    let job = Job { client, context: context.clone(), stream, subject, count, size };
    let watch = match args.mode.as_str() {
        "js-publish" => job.publish(payload(args)?).await,
        "js-publish-async" => job.publish_async(payload(args)?).await,
        mode => {
            fill(&context, &job.subject, count, payload(args)?, false).await?;
            match mode {
                "js-fetch" => job.fetch().await,
                "js-push" => job.push().await,
                "js-ordered" => job.ordered().await,
                other => Err(format!("unknown mode {other:?}").into()),
            }
        }
    };
    context.delete_stream(name).await?;
    emit(&Value::Object(watch?));
    Ok(())
}

/// With `numbered`, message i goes to `subject.i`: that makes the keys of a bucket.
pub async fn fill(
    context: &Context,
    subject: &str,
    count: u64,
    payload: Bytes,
    numbered: bool,
) -> Result<(), Error> {
    for start in (0..count).step_by(FILL_BATCH as usize) {
        let mut acks = Vec::new();
        for number in start..count.min(start + FILL_BATCH) {
            let subject = if numbered { format!("{subject}.{number}") } else { subject.to_owned() };
            acks.push(context.publish(subject, payload.clone()).await?.into_future());
        }
        try_join_all(acks).await?;
    }
    Ok(())
}

type Fields = serde_json::Map<String, Value>;

struct Job {
    client: Client,
    context: Context,
    stream: Stream,
    subject: String,
    count: u64,
    size: usize,
}

impl Job {
    async fn publish(&self, payload: Bytes) -> Result<Fields, Error> {
        let subject = Subject::from(self.subject.as_str());
        for _ in 0..100 {
            self.context.publish(subject.clone(), payload.clone()).await?.await?;
        }
        let watch = Stopwatch::new();
        for _ in 0..self.count {
            self.context.publish(subject.clone(), payload.clone()).await?.await?;
        }
        let fields = watch.report(self.count);
        self.check_stored(self.count + 100).await?;
        Ok(fields)
    }

    async fn publish_async(&self, payload: Bytes) -> Result<Fields, Error> {
        let context = ContextBuilder::new()
            .max_ack_inflight(WINDOW)
            .backpressure_on_inflight(true)
            .ack_timeout(ACK_TIMEOUT)
            .build(self.client.clone());
        let subject = Subject::from(self.subject.as_str());
        let send = async |count: u64| -> Result<(), Error> {
            for _ in 0..count {
                // Dropping the future leaves the ack to the context, which counts it.
                drop(context.publish(subject.clone(), payload.clone()).await?);
            }
            context.wait_for_acks().await;
            Ok(())
        };
        send(WARM_UP).await?;
        let watch = Stopwatch::new();
        send(self.count).await?;
        let fields = watch.report(self.count);
        self.check_stored(self.count + WARM_UP).await?;
        Ok(fields)
    }

    async fn check_stored(&self, wanted: u64) -> Result<(), Error> {
        let stored = self.stream.get_info().await?.state.messages;
        if stored == wanted { Ok(()) } else { Err(format!("{stored} of {wanted} stored").into()) }
    }

    async fn fetch(&self) -> Result<Fields, Error> {
        let consumer = self
            .stream
            .create_consumer(pull::Config {
                durable_name: Some("bench".into()),
                ack_policy: AckPolicy::Explicit,
                ..pull::Config::default()
            })
            .await?;
        let inbox = self.client.new_inbox();
        let mut marker = self.client.subscribe(inbox.clone()).await?;
        let (mut seen, mut bytes) = (0, 0);
        let watch = Stopwatch::new();
        while seen < self.count {
            let mut batch = consumer.fetch().max_messages(BATCH as usize).messages().await?;
            let before = seen;
            while let Some(message) = batch.next().await {
                let message = message?;
                bytes += message.payload.len();
                message.ack().await?;
                seen += 1;
            }
            if seen == before {
                return Err("an empty batch".into());
            }
        }
        round_trip(&self.client, &mut marker, &inbox).await?;
        let fields = watch.report(seen);
        self.check_bytes(bytes)?;
        self.check_acks(consumer).await?;
        Ok(fields)
    }

    async fn push(&self) -> Result<Fields, Error> {
        let inbox = self.client.new_inbox();
        let mut marker = self.client.subscribe(inbox.clone()).await?;
        let watch = Stopwatch::new();
        let consumer = self
            .stream
            .create_consumer(push::Config {
                deliver_subject: self.client.new_inbox(),
                ack_policy: AckPolicy::Explicit,
                ..push::Config::default()
            })
            .await?;
        let mut messages = consumer.messages().await?;
        let mut bytes = 0;
        for _ in 0..self.count {
            let message = messages.next().await.ok_or("the subscription ended")??;
            bytes += message.payload.len();
            message.ack().await?;
        }
        round_trip(&self.client, &mut marker, &inbox).await?;
        let fields = watch.report(self.count);
        self.check_bytes(bytes)?;
        self.check_acks(consumer).await?;
        Ok(fields)
    }

    async fn ordered(&self) -> Result<Fields, Error> {
        let watch = Stopwatch::new();
        let consumer = self
            .stream
            .create_consumer(push::OrderedConfig {
                deliver_subject: self.client.new_inbox(),
                ..push::OrderedConfig::default()
            })
            .await?;
        let mut messages = consumer.messages().await?;
        let mut last = messages.next().await.ok_or("the subscription ended")??;
        let mut bytes = last.payload.len();
        for _ in 1..self.count {
            last = messages.next().await.ok_or("the subscription ended")??;
            bytes += last.payload.len();
        }
        let fields = watch.report(self.count);
        self.check_bytes(bytes)?;
        if last.info()?.stream_sequence != self.count {
            return Err("the last message is not the last one".into());
        }
        Ok(fields)
    }

    fn check_bytes(&self, bytes: usize) -> Result<(), Error> {
        let wanted = usize::try_from(self.count)? * self.size;
        if bytes == wanted { Ok(()) } else { Err(format!("{bytes} of {wanted} bytes").into()) }
    }

    /// The server handles acks behind the back of the connection: they may take a moment.
    async fn check_acks<T>(&self, mut consumer: Consumer<T>) -> Result<(), Error>
    where
        T: jetstream::consumer::IntoConsumerConfig,
    {
        for _ in 0..100 {
            let info = consumer.info().await?;
            if info.ack_floor.stream_sequence == self.count {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err("messages were left without ack".into())
    }
}
