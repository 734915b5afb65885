"""The rights of a client at the Redis of `minipach up`: the commands that RQ and minipach send, and a password.

A client can change no setting of the server, load no module, write no file and stop nobody else: CONFIG, MODULE, DEBUG,
SAVE, SHUTDOWN, REPLICAOF, ACL, FLUSHALL, KEYS and MONITOR are off.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess

from minipach.git.child_environment import child_environment

_COMMAND_LINES = """
auth hello ping select scan time client|setname client|getname client|id client|list info
watch unwatch multi exec discard eval evalsha script|load script|exists publish subscribe unsubscribe
del exists expire persist ttl type get set setex mget rename
hset hget hmget hgetall hdel hexists hlen hincrby hincrbyfloat
lpush rpush lpop rpop lrem llen lrange lpos lmove blpop blmove
sadd srem smembers scard sismember
zadd zrem zscore zrange zrevrange zrangebyscore zcard zcount zremrangebyscore zremrangebyrank zpopmin
xadd xread xrange xrevrange xlen
"""
_COMMANDS = tuple(_COMMAND_LINES.split())
# what a server without access lists (before 6.0) has, and nobody needs
_DANGEROUS_LINES = """
ACL BGREWRITEAOF BGSAVE CLUSTER CONFIG DEBUG DUMP FAILOVER FLUSHALL FLUSHDB KEYS LATENCY MEMORY MIGRATE MODULE MONITOR
OBJECT PSYNC REPLICAOF RESTORE ROLE SAVE SHUTDOWN SLAVEOF SLOWLOG SWAPDB SYNC
"""


def version(program: str) -> tuple[int, int]:
    """Return the version of a server of Redis or Valkey; (0, 0) if it does not say."""
    done = subprocess.run([program, "--version"], capture_output=True, check=False, env=child_environment())
    found = re.search(r"v=(\d+)\.(\d+)", os.fsdecode(done.stdout))
    return (int(found[1]), int(found[2])) if found else (0, 0)


def settings(password: str, server: tuple[int, int]) -> list[str]:
    """Return the lines of a server's configuration that set the password and the rights of its only user.

    Args:
        password: of letters, digits, "-" and "_".
        server: the version, as `version` returns it.
    """
    if server < (6, 0):
        return [f"requirepass {password}", *(f'rename-command {name} ""' for name in _DANGEROUS_LINES.split())]
    # 6.0 knows no rights to channels, and 7.0 no CLIENT SETINFO
    channels = "&* " if server >= (6, 2) else ""
    commands = [*_COMMANDS, *(["client|setinfo"] if server >= (7, 2) else [])]
    known = [name for name in commands if server >= (6, 2) or name not in ("lmove", "blmove")]
    digest = hashlib.sha256(password.encode()).hexdigest()
    return [f"user default reset on #{digest} ~* {channels}-@all " + " ".join(f"+{name}" for name in known)]
