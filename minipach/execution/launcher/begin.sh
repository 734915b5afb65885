#!/bin/sh
""":"
# This file is a shell script up to the next line of quotes, and Python after it. To compile it takes longer than all
# else at a start, so the result is kept in the user's own cache, under the hash of the file.
run='
import sys
if sys.version_info < (3, 9):
    sys.stderr.write("launch: needs Python 3.9 or later, not " + sys.version.split()[0] + "\n")
    sys.exit(125)
import marshal, os
try:
    from _blake2 import blake2b
except ImportError:
    from hashlib import blake2b
del sys.argv[0]
with open(sys.argv[0], "rb") as file:
    text = file.read()
cache = os.environ.get("XDG_CACHE_HOME", "")
if not os.path.isabs(cache):  # as its specification says: a relative one could be a folder of the dataset
    cache = os.path.expanduser("~/.cache")
folder = os.path.join(cache, "minipach", "launch")
kept = os.path.join(folder, blake2b(text, digest_size=32).hexdigest() + "-" + (sys.implementation.cache_tag or "none"))
is_known = os.path.isabs(folder)
code = None
try:
    ours = is_known and all(s.st_uid == os.getuid() and not s.st_mode & 0o22 for s in map(os.lstat, (folder, kept)))
    if ours:
        with open(kept, "rb") as file:
            code = marshal.load(file)
except (OSError, ValueError, EOFError, TypeError):
    pass
if not hasattr(code, "co_code"):
    code = compile(text, sys.argv[0], "exec", dont_inherit=True)
    part = kept + "." + str(os.getpid())
    try:
        if not is_known:
            raise FileNotFoundError
        os.makedirs(folder, 0o700, exist_ok=True)
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            marshal.dump(code, file)
        os.replace(part, kept)
        for other in os.scandir(folder):  # what no launcher has stored again for 90 days
            if other.name[64:65] == "-" and os.lstat(kept).st_mtime - os.lstat(other).st_mtime > 90 * 86400:
                os.unlink(other)
    except OSError:
        pass
exec(code, {"__name__": "__main__", "__file__": sys.argv[0]})
'
for python in "${MINIPACH_PYTHON:-}" python3 python; do
  [ -n "$python" ] && command -v "$python" >/dev/null 2>&1 && exec "$python" -I -S -B -c "$run" "$0" "$@"
done
echo "launch: needs Python 3.9 or later on PATH" >&2
exit 125
":"""

# Run the datums of a run record, each in a sandbox of its own, and move their outputs into the dataset.
#
#   sh .minipach/launch IMAGE OPTION... {-d NAME OUT DATUM_OPTION...}... [-x WORD]... [-j LINE]... -- CMD [ARG...]
#   sh .minipach/launch --runtime IMAGE     print "NAME read-only" or "NAME copy": the runtime that would run it, and
#                                           whether inputs are protected under it
#
# OPTION          -t SECONDS    time limit of each datum             -a CODE   an exit code that is accepted too
#                 -e K=V        environment of every datum           -i LINE   a line of standard input
#                 -w DIR        working directory                    -W        the working directory is the image's
#                 -P PATH       the pipeline's path in its project   -N        no network
#                 -E VAR        VAR of the caller is passed on       -R PATH   PATH of the host is visible, read-only
#                 -L KIND=N     limit of each datum: memory, disk, file-size (bytes), processes
#                 -s VAR=NAME   secret: variable VAR gets the value of the caller's variable NAME
#                 -S PATH=NAME  secret: the read-only file PATH has that value
#                 -q required   a datum that writes nothing fails
#                 -I writable   inputs are private copies, and all of /pfs can be written to
#                 -b            CMD loops over the datums itself: it runs `minipach-next` for each (see NEXT)
# DATUM_OPTION    -v K=V              variable of this datum
#                 -f INPUT DIR PATH   the file or folder DIR/PATH at /pfs/INPUT/PATH (-l: the same; -z: its files are empty)
#                 -n TOKEN WORD       paths below /pfs show TOKEN in place of WORD; output paths get WORD back
#                 -r KEY VALUE        {KEY} in arguments becomes VALUE
# -x WORD, -j LINE   the command that runs after CMD failed, and a line of its standard input. If it succeeds, the datum
#                    is recovered: it has no output, and a worker does not count it as failed
#
# What a command sees: /pfs (inputs, read-only, and out); the pipeline's own files in /project, read-only; empty and
# private /tmp, /var/tmp, /dev/shm and HOME. Without an image: also the host's system folders and what PATH needs.
# Without a container: $PFS instead of /pfs, and copies of its inputs.
#
# environment     MINIPACH_RUNTIME      apptainer singularity podman docker charliecloud bubblewrap none
#                 MINIPACH_INTERACTIVE  the command gets this terminal
#                 MINIPACH_REPORT       a folder for report.json: what became of each datum (then one that fails costs
#                                       the others nothing)
#                 MINIPACH_ENOUGH       seconds after which no other datum begins, nor after one that fails (with a report)
#                 MINIPACH_CACHE        folder of unpacked images
#                 MINIPACH_PATH         PATH of the command, if not that of the caller
#                 MINIPACH_TESTED       a runtime that works here, as --runtime has told
#                 MINIPACH_POD_FOLDER   folder shared with a container that the image runs in already, and its agent
# exit code       the command's; 124 time is over; 126 a datum's output or input is at fault; 125 the launcher failed
