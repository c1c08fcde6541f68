/*
 * Preloaded into a supervisor or a shim, so that it can be killed at every step: before the N-th of its calls that others could notice. Nothing
 * in the product knows of it. The test and the process share one page (the file KILLPOINTS), so that the count begins when the test says so; it
 * is one count for all threads, and once it has come to its end it is over. Only for the program whose name KILLPOINTS_FOR is.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

/* KillPoint.cs reads and writes the same. */
struct page {
    int64_t left;    /* calls until death; 0 or less: nothing is counted */
    int64_t seen;    /* calls that were counted */
    int32_t partner; /* dies first, if not 0 */
    int32_t killed;  /* the pid that died */
    char where[256]; /* before which call */
};

static struct page *page;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("KILLPOINTS"), *name = getenv("KILLPOINTS_FOR");
    char self[4096];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (path == NULL || name == NULL || length <= 0)
        return;
    self[length] = 0;
    if (strcmp(strrchr(self, '/') + 1, name) != 0)
        return;
    int file = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
    if (file < 0)
        return;
    void *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    page = map == MAP_FAILED ? NULL : map;
}

static void point(const char *call, const char *subject)
{
    if (page == NULL || __atomic_load_n(&page->left, __ATOMIC_SEQ_CST) <= 0)
        return;
    __atomic_add_fetch(&page->seen, 1, __ATOMIC_SEQ_CST);
    if (__atomic_sub_fetch(&page->left, 1, __ATOMIC_SEQ_CST) != 0)
        return;
    snprintf(page->where, sizeof page->where, "%s %s", call, subject);
    page->killed = getpid();
    if (page->partner != 0)
        syscall(SYS_kill, page->partner, SIGKILL);
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;)
        pause();
}

/* What nobody outside can notice (a pipe or an eventfd that wakes a thread up) is no point, nor is a line of the log. */
static void point_of(const char *call, int fd)
{
    struct stat about;
    char link[64], target[200];
    if (page == NULL || __atomic_load_n(&page->left, __ATOMIC_SEQ_CST) <= 0 || fd == 2 || fstat(fd, &about) != 0
        || !(S_ISREG(about.st_mode) || S_ISSOCK(about.st_mode)))
        return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, target, sizeof target - 1);
    target[length < 0 ? 0 : length] = 0;
    point(call, target);
}

#define NEXT(result, name, ...) \
    static result (*next)(__VA_ARGS__); \
    if (next == NULL) \
        next = (result (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

#define OPEN(name) \
    int name(const char *path, int flags, ...) \
    { \
        NEXT(int, #name, const char *, int, ...); \
        va_list list; \
        va_start(list, flags); \
        mode_t mode = va_arg(list, mode_t); \
        va_end(list); \
        if (flags & (O_CREAT | O_WRONLY | O_RDWR)) \
            point(#name, path); \
        return next(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

#define ON_PATH(name, parameters, arguments, subject, ...) \
    int name parameters \
    { \
        NEXT(int, #name, __VA_ARGS__); \
        point(#name, subject); \
        return next arguments; \
    }
ON_PATH(mkdir, (const char *path, mode_t mode), (path, mode), path, const char *, mode_t)
ON_PATH(rmdir, (const char *path), (path), path, const char *)
ON_PATH(unlink, (const char *path), (path), path, const char *)
ON_PATH(unlinkat, (int at, const char *path, int flags), (at, path, flags), path, int, const char *, int)
ON_PATH(chmod, (const char *path, mode_t mode), (path, mode), path, const char *, mode_t)
ON_PATH(rename, (const char *from, const char *to), (from, to), to, const char *, const char *)
ON_PATH(renameat, (int a, const char *from, int b, const char *to), (a, from, b, to), to, int, const char *, int, const char *)
ON_PATH(kill, (pid_t pid, int signal), (pid, signal), "", pid_t, int)
ON_PATH(posix_spawn,
    (pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attributes, char *const argv[], char *const envp[]),
    (pid, path, actions, attributes, argv, envp), path,
    pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *, char *const[], char *const[])

#define ON_DESCRIPTOR(result, name, parameters, arguments, ...) \
    result name parameters \
    { \
        NEXT(result, #name, __VA_ARGS__); \
        point_of(#name, fd); \
        return next arguments; \
    }
ON_DESCRIPTOR(ssize_t, write, (int fd, const void *data, size_t size), (fd, data, size), int, const void *, size_t)
ON_DESCRIPTOR(ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at), int, const void *, size_t, off64_t)
ON_DESCRIPTOR(ssize_t, pwritev64, (int fd, const struct iovec *data, int count, off64_t at), (fd, data, count, at), int, const struct iovec *, int, off64_t)
ON_DESCRIPTOR(int, ftruncate64, (int fd, off64_t size), (fd, size), int, off64_t)
ON_DESCRIPTOR(ssize_t, send, (int fd, const void *data, size_t size, int flags), (fd, data, size, flags), int, const void *, size_t, int)
ON_DESCRIPTOR(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags), (fd, message, flags), int, const struct msghdr *, int)
ON_DESCRIPTOR(int, bind, (int fd, const struct sockaddr *name, socklen_t size), (fd, name, size), int, const struct sockaddr *, socklen_t)
ON_DESCRIPTOR(int, listen, (int fd, int backlog), (fd, backlog), int, int)
ON_DESCRIPTOR(int, connect, (int fd, const struct sockaddr *name, socklen_t size), (fd, name, size), int, const struct sockaddr *, socklen_t)

int flock(int fd, int operation)
{
    NEXT(int, "flock", int, int);
    point("flock", "");
    return next(fd, operation);
}

/* Afterwards too: between the collecting of a process and the first word about it. */
pid_t wait4(pid_t pid, int *status, int options, struct rusage *usage)
{
    NEXT(pid_t, "wait4", pid_t, int *, int, struct rusage *);
    point("wait4", "");
    pid_t result = next(pid, status, options, usage);
    point("after wait4", "");
    return result;
}

int waitid(idtype_t type, id_t id, siginfo_t *info, int options)
{
    NEXT(int, "waitid", idtype_t, id_t, siginfo_t *, int);
    int result = next(type, id, info, options);
    point("after waitid", "");
    return result;
}

/* pidfd_send_signal has no other name in this libc. */
long syscall(long number, ...)
{
    NEXT(long, "syscall", long, ...);
    va_list list;
    va_start(list, number);
    long a = va_arg(list, long), b = va_arg(list, long), c = va_arg(list, long), d = va_arg(list, long), e = va_arg(list, long), f = va_arg(list, long);
    va_end(list);
    if (number == SYS_pidfd_send_signal)
        point("pidfd_send_signal", "");
    return next(number, a, b, c, d, e, f);
}
