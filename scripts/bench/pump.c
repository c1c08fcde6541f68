// The two ends of a measured stream, and the check that nothing was lost between them. Compiled statically by scripts/bench.sh.
//
//   pump write TOTAL lines|block PLACE DIR TOKEN   waits for DIR/go, writes TOTAL bytes to stdout, waits for DIR/release
//   pump read TOTAL PLACE [FIFO]                   counts the bytes of stdin (or of a FIFO) until its end
//   pump watch FILE DIR                            watches a file grow until stdin ends
//   pump check raw|cri|json FILE TOTAL             compares the file with what `write` writes; of JSON's escapes it knows \n
//
// PLACE is `apart` (the writer has the first CPU, the reader the last) or `free` (where the scheduler likes).
// All times are CLOCK_MONOTONIC in nanoseconds: one clock for host and containers.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BLOCK 65536
// The shortest text that is whole lines of 100 bytes, whole blocks, and whole records of 16 KiB.
#define PATTERN 1638400

static char pattern[PATTERN];

static void die(const char *what)
{
    fprintf(stderr, "pump: %s: %s\n", what, strerror(errno));
    exit(1);
}

static long long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

// Moves to the first or to the last of the CPUs that we may use.
static void settle(const char *place, int last)
{
    cpu_set_t all, one;
    if (strcmp(place, "apart") != 0 || sched_getaffinity(0, sizeof all, &all) != 0) return;
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
    {
        if (!CPU_ISSET(cpu, &all)) continue;
        if (last) CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        if (!last) break;
    }
    if (sched_setaffinity(0, sizeof one, &one) != 0) die("sched_setaffinity");
}

// Text that no format has to escape; the number of the line makes each line different.
static void fill(int lines)
{
    static const char letters[] = "the quick brown fox jumps over the lazy dog and comes back another day to do it all over again ";
    for (int line = 0; line < PATTERN / 100; line++)
    {
        char text[128];
        snprintf(text, sizeof text, "%06d %s", line, letters);
        memcpy(pattern + line * 100, text, 99);
        pattern[line * 100 + 99] = lines ? '\n' : '.';
    }
}

// DIR/name appears complete or not at all.
static void stamp(const char *dir, const char *name, long long time)
{
    char path[4096], final[4096], text[32];
    snprintf(path, sizeof path, "%s/.%s", dir, name);
    snprintf(final, sizeof final, "%s/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) die(path);
    int length = snprintf(text, sizeof text, "%lld\n", time);
    if (write(fd, text, length) != length) die(path);
    close(fd);
    if (rename(path, final) != 0) die(final);
}

// Blocks until somebody has opened DIR/name, a FIFO, for writing and has closed it.
static void await_fifo(const char *dir, const char *name)
{
    char path[4096], byte;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) die(path);
    while (read(fd, &byte, 1) > 0)
    {
    }
    close(fd);
}

static int writer(long long total, int lines, const char *place, const char *dir)
{
    settle(place, 0);
    fill(lines);
    await_fifo(dir, "go");
    long long begin = now(), done = 0;
    while (done < total)
    {
        size_t at = done % PATTERN, length = BLOCK - at % BLOCK;
        if ((long long)length > total - done) length = total - done;
        ssize_t wrote = write(1, pattern + at, length);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote < 0) die("write");
        done += wrote;
    }
    stamp(dir, "written", now());
    stamp(dir, "begun", begin);
    await_fifo(dir, "release");
    return 0;
}

static int reader(long long total, const char *place, const char *fifo)
{
    static char buffer[BLOCK];
    settle(place, 1);
    int fd = fifo ? open(fifo, O_RDONLY | O_CLOEXEC) : 0;
    if (fd < 0) die(fifo);
    long long count = 0, last = now();
    int told = 0;
    for (;;)
    {
        ssize_t got = read(fd, buffer, sizeof buffer);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) die("read");
        if (got == 0) break;
        count += got;
        if (count >= total)
        {
            last = now();
            if (!told++) printf("full %lld %lld\n", last, count), fflush(stdout);
        }
    }
    printf("end %lld %lld\n", last, count);
    return 0;
}

// "full" is said when the writer has written everything and the file has not grown for 300 ms; its time is that of the last growth.
static int watcher(const char *file, const char *dir)
{
    char written[4096];
    snprintf(written, sizeof written, "%s/written", dir);
    long long size = 0, last = now();
    int told = 0;
    for (;;)
    {
        struct stat status;
        long long time = now();
        if (stat(file, &status) == 0 && status.st_size != size) size = status.st_size, last = time;
        if (!told && size > 0 && time - last > 300000000LL && access(written, F_OK) == 0)
            told = 1, printf("full %lld %lld\n", last, size), fflush(stdout);
        struct pollfd input = {.fd = 0, .events = POLLIN};
        if (poll(&input, 1, 1) > 0) break;
    }
    struct stat status;
    if (stat(file, &status) == 0 && status.st_size != size) size = status.st_size, last = now();
    printf("end %lld %lld\n", last, size);
    return 0;
}

static long long seen;

static void compare(const char *text, size_t length)
{
    while (length > 0)
    {
        size_t at = seen % PATTERN, part = PATTERN - at;
        if (part > length) part = length;
        if (memcmp(text, pattern + at, part) != 0)
        {
            printf("different near byte %lld\n", seen);
            exit(1);
        }
        seen += part, text += part, length -= part;
    }
}

static int checker(const char *format, const char *file, long long total)
{
    FILE *input = fopen(file, "re");
    if (!input) die(file);
    char *line = NULL;
    size_t room = 0;
    ssize_t length;
    // The writer's kind is recognised by its first line end.
    int lines = -1;
    if (strcmp(format, "raw") == 0)
    {
        static char buffer[PATTERN];
        while ((length = fread(buffer, 1, sizeof buffer, input)) > 0)
        {
            if (lines < 0) fill(lines = memchr(buffer, '\n', length) != NULL);
            compare(buffer, length);
        }
    }
    else
    {
        int cri = strcmp(format, "cri") == 0;
        while ((length = getline(&line, &room, input)) > 0)
        {
            char *text, *end = line + length - 1, *fields = line;
            int whole;
            if (*end != '\n') { printf("the last record has no end\n"); return 1; }
            if (cri)
            {
                // time, stream, F or P, text
                for (int field = 0; field < 3; field++)
                {
                    fields = memchr(fields, ' ', end - fields);
                    if (!fields) { printf("not a CRI record near byte %lld\n", seen); return 1; }
                    fields++;
                }
                text = fields;
                whole = fields[-2] == 'F';
            }
            else
            {
                if (strncmp(line, "{\"log\":\"", 8) != 0) { printf("not a JSON record near byte %lld\n", seen); return 1; }
                text = line + 8;
                end = memchr(text, '"', end - text);
                if (!end) { printf("not a JSON record near byte %lld\n", seen); return 1; }
                whole = end - text >= 2 && end[-2] == '\\' && end[-1] == 'n';
                if (whole) end -= 2;
            }
            if (lines < 0) fill(lines = whole);
            compare(text, end - text);
            if (whole) compare("\n", 1);
        }
    }
    printf("%lld\n", seen);
    return seen == total ? 0 : 1;
}

int main(int count, char **words)
{
    const char *verb = count > 1 ? words[1] : "";
    if (strcmp(verb, "write") == 0 && count == 7) return writer(atoll(words[2]), strcmp(words[3], "lines") == 0, words[4], words[5]);
    if (strcmp(verb, "read") == 0 && count >= 4) return reader(atoll(words[2]), words[3], count > 4 ? words[4] : NULL);
    if (strcmp(verb, "watch") == 0 && count == 4) return watcher(words[2], words[3]);
    if (strcmp(verb, "check") == 0 && count == 5) return checker(words[2], words[3], atoll(words[4]));
    fprintf(stderr, "pump: see the head of pump.c\n");
    return 2;
}
