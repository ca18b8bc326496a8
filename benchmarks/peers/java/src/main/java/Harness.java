// The Java parallel-consumer under the comparison's protocol: job from properties, marks in a mapped file, SIGTERM ends.
import io.confluent.parallelconsumer.ParallelConsumerOptions;
import io.confluent.parallelconsumer.ParallelConsumerOptions.ProcessingOrder;
import io.confluent.parallelconsumer.ParallelStreamProcessor;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.time.Instant;
import java.util.Arrays;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.locks.LockSupport;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

public final class Harness {
    private static final String KEY = "key";

    public static void main(String[] arguments) throws Exception {
        int[] bases = Arrays.stream(text("bases").split(",")).mapToInt(Integer::parseInt).toArray();
        long workNanos = Long.getLong("work.nanos");
        MappedByteBuffer marks = mapped(text("marks"));
        ByteBuffer times = text("times").isEmpty() ? null : mapped(text("times")).order(ByteOrder.nativeOrder());
        ParallelStreamProcessor<byte[], byte[]> processor = ParallelStreamProcessor.createEosStreamProcessor(options());
        processor.subscribe(List.of(text("topic")));
        Runtime.getRuntime().addShutdownHook(new Thread(processor::close));
        processor.poll(context -> {
            double began = times == null ? 0 : now();
            work(workNanos);
            var message = context.getSingleConsumerRecord();
            int index = bases[message.partition()] + (int) message.offset();
            if (times != null) {
                times.putDouble(16 * index, began);
                times.putDouble(16 * index + 8, now());
            }
            marks.put(index, (byte) (marks.get(index) + 1));
        });
        Thread.currentThread().join();
    }

    private static ParallelConsumerOptions<byte[], byte[]> options() {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", text("servers"));
        properties.put("group.id", text("group"));
        properties.put("auto.offset.reset", "earliest");
        properties.put("enable.auto.commit", "false");
        if (Integer.getInteger("batch") != null) {
            properties.put("max.poll.records", Integer.getInteger("batch"));
        }
        var bytes = new ByteArrayDeserializer();
        var options = ParallelConsumerOptions.<byte[], byte[]>builder()
            .ordering(text("ordering").equals(KEY) ? ProcessingOrder.KEY : ProcessingOrder.UNORDERED)
            .consumer(new KafkaConsumer<>(properties, bytes, bytes));
        if (Integer.getInteger("concurrency") != null) {
            options = options.maxConcurrency(Integer.getInteger("concurrency"));
        }
        return options.build();
    }

    // Seconds since the epoch, as the drivers' clock has them.
    private static double now() {
        var instant = Instant.now();
        return instant.getEpochSecond() + instant.getNano() / 1e9;
    }

    private static MappedByteBuffer mapped(String path) throws Exception {
        try (RandomAccessFile file = new RandomAccessFile(path, "rw")) {
            return file.getChannel().map(FileChannel.MapMode.READ_WRITE, 0, file.length());
        }
    }

    // Waits at least the given time: a thread may be woken before it is over.
    private static void work(long nanos) {
        long ends = System.nanoTime() + nanos;
        for (long left = nanos; left > 0; left = ends - System.nanoTime()) {
            LockSupport.parkNanos(left);
        }
    }

    private static String text(String name) {
        return java.util.Objects.requireNonNull(System.getProperty(name), name);
    }

    private Harness() {}
}
