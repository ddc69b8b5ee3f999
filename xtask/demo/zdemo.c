/* zdemo.c - compresses a file through the system's zlib, from a program that has no libc.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 *   zdemo --version         says what it is
 *   zdemo --entry-clock     says when its first instruction ran, by CLOCK_MONOTONIC
 *   zdemo FILE FILE.gz      compresses the one into the other, reads it back and compares
 *
 * Each but --entry-clock shows its own /proc/self/maps between marks, for `cargo xtask demo` to read.
 * With -DORDINARY the same program is made the ordinary way, with libc and its start-up code, for comparison.
 */
#include <asm/unistd.h>
#include <linux/fcntl.h>
#include <zlib.h>

#ifndef ORDINARY
#include <slul.h>
SLUL_ABI_NOTE(SLUL_CALL_ENTRY);
#endif

#define CHUNK 65536
#define MONOTONIC 1 /* CLOCK_MONOTONIC, whose header does not go together with zlib.h's */
#define GZIP (15 + 16) /* the largest window, gzip's header */

static unsigned char plain[CHUNK], packed[CHUNK], again[CHUNK];
static z_stream stream; /* zero: zlib takes its own malloc */

static long call(long number, long a, long b, long c)
{
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c)
                     : "rcx", "r11", "memory");
    return result;
}

static long long now(void)
{
    long long time[2];
    call(__NR_clock_gettime, MONOTONIC, (long)time, 0);
    return time[0] * 1000000000 + time[1];
}

/* The system calls, until all is read or written; what is left out at the end of a file is the difference. */
static long read_all(int fd, unsigned char *to, long size)
{
    long done = 0, got = 1;
    while (done < size && got > 0) {
        got = call(__NR_read, fd, (long)(to + done), size - done);
        done += got > 0 ? got : 0;
    }
    return got < 0 ? got : done;
}

static int write_all(int fd, const void *from, long size)
{
    const char *next = from;
    while (size > 0) {
        long put = call(__NR_write, fd, (long)next, size);
        if (put <= 0)
            return 0;
        next += put;
        size -= put;
    }
    return 1;
}

static void say(const char *text)
{
    long length = 0;
    while (text[length])
        length++;
    write_all(1, text, length);
}

static void say_number(const char *name, long long value)
{
    char text[24];
    int at = sizeof text;
    text[--at] = 0;
    text[--at] = '\n';
    do
        text[--at] = '0' + value % 10;
    while ((value /= 10) > 0);
    say(name);
    say(" ");
    say(text + at);
}

static void say_maps(const char *when)
{
    static unsigned char text[4096];
    long got;
    int fd = call(__NR_open, (long)"/proc/self/maps", O_RDONLY, 0);
    say("maps ");
    say(when);
    say("\n");
    while ((got = read_all(fd, text, sizeof text)) > 0)
        write_all(1, text, got);
    call(__NR_close, fd, 0, 0);
    say("end of maps\n");
}

static int equal(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

static int fail(const char *what)
{
    static const char who[] = "zdemo: ";
    long length = 0;
    while (what[length])
        length++;
    write_all(2, who, sizeof who - 1);
    write_all(2, what, length);
    write_all(2, "\n", 1);
    return 1;
}

static int compress_file(int in, int out)
{
    int state = Z_OK;
    if (deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, GZIP, 9, Z_DEFAULT_STRATEGY) != Z_OK)
        return fail("deflateInit2");
    while (state == Z_OK) {
        long got = read_all(in, plain, CHUNK);
        if (got < 0)
            return fail("cannot read the file");
        stream.next_in = plain;
        stream.avail_in = got;
        do {
            stream.next_out = packed;
            stream.avail_out = CHUNK;
            state = deflate(&stream, got < CHUNK ? Z_FINISH : Z_NO_FLUSH);
            if (state == Z_STREAM_ERROR || !write_all(out, packed, CHUNK - stream.avail_out))
                return fail("cannot write what deflate gives");
        } while (stream.avail_out == 0);
    }
    say_number("bytes-in", stream.total_in);
    say_number("bytes-out", stream.total_out);
    if (state != Z_STREAM_END || deflateEnd(&stream) != Z_OK)
        return fail("deflate did not come to its end");
    return 0;
}

/* Whether the next bytes of the original are those. */
static int next_are(int original, const unsigned char *bytes, long size)
{
    long i;
    if (read_all(original, plain, size) != size)
        return 0;
    for (i = 0; i < size; i++)
        if (plain[i] != bytes[i])
            return 0;
    return 1;
}

static int compare_file(int original, int in)
{
    int state = Z_OK;
    if (inflateInit2(&stream, GZIP) != Z_OK)
        return fail("inflateInit2");
    while (state == Z_OK) {
        long got = read_all(in, packed, CHUNK);
        if (got <= 0)
            return fail("what was compressed has no end");
        stream.next_in = packed;
        stream.avail_in = got;
        do {
            stream.next_out = again;
            stream.avail_out = CHUNK;
            state = inflate(&stream, Z_NO_FLUSH);
            if (!next_are(original, again, CHUNK - stream.avail_out))
                return fail("what was read back differs");
        } while (state == Z_OK && stream.avail_out == 0);
        if (state == Z_BUF_ERROR) /* no output was left to give: more input is wanted */
            state = Z_OK;
    }
    if (state != Z_STREAM_END || inflateEnd(&stream) != Z_OK || read_all(original, plain, 1) != 0)
        return fail("what was read back is not the whole");
    say_number("bytes-back", stream.total_out);
    return 0;
}

static int run(const char *file, const char *archive)
{
    long long start, first, second;
    const char *version;
    int in, out, status;

    say_maps("before the first native call");
    start = now();
    version = zlibVersion();
    first = now() - start;
    start = now();
    version = zlibVersion();
    second = now() - start;
    say_maps("after the first native call");
    say("zlib ");
    say(version);
    say("\n");
    say_number("first-call", first);
    say_number("second-call", second);

    in = call(__NR_open, (long)file, O_RDONLY, 0);
    out = call(__NR_open, (long)archive, O_RDWR | O_CREAT | O_TRUNC, 0644);
    if (in < 0 || out < 0)
        return fail("cannot open the files");
    status = compress_file(in, out);
    call(__NR_lseek, in, 0, 0);
    call(__NR_lseek, out, 0, 0);
    return status ? status : compare_file(in, out);
}

int entry(int argc, char **argv, char **envp, const void *auxv)
{
    long long entered = now();
    (void)envp, (void)auxv;
    if (argc == 2 && equal(argv[1], "--entry-clock")) {
        say_number("entered", entered);
        return 0;
    }
    if (argc == 2 && equal(argv[1], "--version")) {
        say("zdemo 1.0\n");
        say_maps("at exit");
        return 0;
    }
    if (argc == 3)
        return run(argv[1], argv[2]);
    return fail("usage: zdemo --version | --entry-clock | FILE FILE.gz");
}

#ifdef ORDINARY
int main(int argc, char **argv, char **envp)
{
    return entry(argc, argv, envp, 0);
}
#endif
