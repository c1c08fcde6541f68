#!/bin/sh
# Stands in for runc and does as the file "control" beside it says, one fault a line:
#   slow:VERB:SECONDS    wait before the real runtime runs
#   hang:VERB            never end
#   fail:VERB:STATUS     fail without running the real runtime, with a message in its log
#   killed:VERB:CALL:N   SIGKILL the runtime's own process when one of its threads is about to make its N-th system call of that name
#   spew:BYTES           first write so much to stderr
#   double-fork          create the container below another process that becomes the parent of its init
#   init-dies-in-create  kill the init process before create returns
#   init-dies-in-start   kill the init process instead of starting it, and fail
#   dumpfds              write the open descriptors of each call to VERB.PID.fds
#   dumpenv              write the environment of each call to VERB.PID.env
# Every call is noted in the file "calls": its verb, then its arguments.
here=${0%/*}
case "$0" in */*) ;; *) here=. ;; esac
if grep -qx dumpenv "$here/control" 2>/dev/null; then environment=$(env); else environment=; fi
PATH=/usr/sbin:/usr/bin:/sbin:/bin
real=$(cat "$here/real")

verb= log= pid_file= root= previous=
for argument in "$@"; do
    case "$previous" in
        --log) log=$argument ;;
        --pid-file) pid_file=$argument ;;
        --root) root=$argument ;;
    esac
    case "$argument" in
        --log=*) log=${argument#--log=} ;;
        --pid-file=*) pid_file=${argument#--pid-file=} ;;
    esac
    case "$previous" in
        --root | --log | --log-format | --criu | --rootless) ;;
        *) case "$argument" in -*) ;; *) [ -n "$verb" ] || verb=$argument ;; esac ;;
    esac
    previous=$argument
done
printf '%s\n' "$verb $*" >>"$here/calls"

# Apart from the loop and in a subshell, so that the shell has no descriptors of its own open but that of this script.
if grep -qx dumpfds "$here/control"; then (ls -l "/proc/$$/fd" >"$here/$verb.$$.fds"); fi

dies= killed= elsewhere=
while read -r fault; do
    case "$fault" in
        "slow:$verb:"*) sleep "${fault#slow:"$verb":}" ;;
        "killed:$verb:"*) killed=${fault#killed:"$verb":} ;;
        "hang:$verb") exec sleep 1000000 ;;
        "fail:$verb:"*)
            message="fake runc: told to fail $verb"
            [ -z "$log" ] || printf '{"level":"error","msg":"%s","time":"2017-02-24T00:00:00Z"}\n' "$message" >>"$log"
            echo "$message" >&2
            exit "${fault#fail:"$verb":}"
            ;;
        spew:*) head -c "${fault#spew:}" /dev/zero | tr '\0' x >&2 ;;
        double-fork) [ "$verb" != create ] || elsewhere=1 ;;
        init-dies-in-create) [ "$verb" != create ] || dies=1 ;;
        init-dies-in-start)
            [ "$verb" = start ] || continue
            kill -KILL "$("$real" --root "$root" state "$previous" | sed -n 's/^ *"pid": \([0-9]*\).*/\1/p')"
            message="fake runc: init has died under my hands"
            printf '{"level":"error","msg":"%s","time":"2017-02-24T00:00:00Z"}\n' "$message" >>"$log"
            exit 1
            ;;
        dumpenv) printf '%s\n' "$environment" >"$here/$verb.$$.env" ;;
    esac
done <"$here/control"

# Not the container's processes: strace lets go of whatever becomes another program.
[ -z "$killed" ] || exec strace -f -b execve -qqq -o /dev/null -e "trace=${killed%:*}" -e "inject=${killed%:*}:signal=KILL:when=${killed#*:}" "$real" "$@"
# A subreaper (prctl 36) between us and the runtime inherits the init, and collects its status.
[ -z "$elsewhere" ] || exec python3 -c '
import ctypes, os, sys
read, write = os.pipe()
if os.fork():
    os.close(write)
    sys.exit((os.read(read, 1) or b"\1")[0])
os.setsid()
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
child = os.fork()
if child == 0:
    os.execv(sys.argv[1], sys.argv[1:])
status = os.waitpid(child, 0)[1]
null = os.open("/dev/null", os.O_RDWR)
for descriptor in range(3):
    os.dup2(null, descriptor)
os.write(write, bytes([os.waitstatus_to_exitcode(status) & 255]))
os.close(write)
try:
    while True:
        os.wait()
except ChildProcessError:
    pass
' "$real" "$@"
[ -n "$dies" ] || exec "$real" "$@"
"$real" "$@" || exit
kill -KILL "$(cat "$pid_file")"
