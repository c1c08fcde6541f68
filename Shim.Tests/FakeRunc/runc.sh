#!/bin/sh
# Stands in for runc and does as the file "control" beside it says, one fault a line:
#   slow:VERB:SECONDS    wait before the real runtime runs
#   hang:VERB            never end
#   fail:VERB:STATUS     fail without running the real runtime, with a message in its log
#   spew:BYTES           first write so much to stderr
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

dies=
while read -r fault; do
    case "$fault" in
        "slow:$verb:"*) sleep "${fault#slow:"$verb":}" ;;
        "hang:$verb") exec sleep 1000000 ;;
        "fail:$verb:"*)
            message="fake runc: told to fail $verb"
            [ -z "$log" ] || printf '{"level":"error","msg":"%s","time":"2017-02-24T00:00:00Z"}\n' "$message" >>"$log"
            echo "$message" >&2
            exit "${fault#fail:"$verb":}"
            ;;
        spew:*) head -c "${fault#spew:}" /dev/zero | tr '\0' x >&2 ;;
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

[ -n "$dies" ] || exec "$real" "$@"
"$real" "$@" || exit
kill -KILL "$(cat "$pid_file")"
