"""The border models of spec.yml: every field, its type, its default and what it means."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AliasChoices,
    AliasGenerator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
)

from minipach.spec.value_types import (
    NAME,
    NAME_RULE,
    Boolean,
    Branch,
    Bytes,
    Count,
    Cpus,
    CronText,
    Duration,
    EgressUrl,
    EnvName,
    ExitCode,
    HealthPath,
    Later,
    Many,
    Moment,
    Noted,
    OrUnset,
    Port,
    PortOrNone,
    Refused,
    SecretName,
    Some,
    Text,
    Times,
    Tries,
    Zone,
    command,
    error_command,
    project_name,
    unset,
)
from minipach.spec.yaml_reader import camel

_KEPT = "accepted for compatibility; it changes nothing here"
_PROJECT = "ignored; a repo is looked up in the project this pipeline is in"


class Model(BaseModel):
    """One object of the spec: both spellings of a key, no key that isn't a field."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        alias_generator=AliasGenerator(validation_alias=lambda name: AliasChoices(name, camel(name))),
    )


class TriggerSpec(Model):
    """A condition for new commits. Until it holds, the input reads the commit for which it held last."""

    branch: Branch | None = Field(
        default=None, description="Branch that is looked at. Default: the input's `branch`, else the one checked out."
    )
    commits: Count = Field(default=0, description="It holds when so many commits wait.")
    size: Annotated[Bytes, OrUnset()] = Field(
        default=0, description="It holds when the repo has grown by so many bytes, with units as for `memory`."
    )
    cron_spec: Annotated[CronText, OrUnset()] = Field(
        default="", description="It holds at these times, for the commits that wait: a cron line, as for `cron`."
    )
    all: Boolean = Field(default=False, description="All conditions must hold. Default: one of them.")
    rate_limit_spec: Annotated[Any, Refused("not supported", "write `cron_spec`")] = Field(
        default=None, description="The shortest time between two releases."
    )


class PfsSpec(Model):
    """One repo, and which of its files and directories are datums."""

    repo: Text = Field(
        description="Path of a dataset or of a plain folder in the project, without `..`: `images`, `raw/t1`. "
        "`.` is the superdataset itself."
    )
    glob: Text = Field(
        description="Each file or directory that it matches is a datum; `/` is the whole repo. "
        "Cleaned as a path: `./a`, `/a//b`, `/a/../b`."
    )
    name: Text = Field(
        default="",
        description="Folder below /pfs. Default: the last part of `repo`, or `project` for `.`. "
        "Unique except across the members of one union; not `out`.",
    )
    branch: Branch | None = Field(
        default=None,
        description="Branch to read, none of git-annex's own. Default: the one checked out. "
        "Of a plain folder: a branch of the dataset that has it.",
    )
    join_on: Text = Field(
        default="",
        description="Key in a join, where it is required: text with `$1` or `${1}` for captures of the glob, "
        "`$0` for the whole path (empty for the root), `$$` for a dollar sign.",
    )
    outer_join: Boolean = Field(
        default=False, description="In a join, keep datums that have no partner in the other inputs."
    )
    group_by: Text = Field(default="", description="Key in a group; written like `join_on`.")
    lazy: Boolean = Field(
        default=False, description="A hint: fetch content when it is first opened, not before the run."
    )
    empty_files: Boolean = Field(default=False, description="The command sees the names only: every file is empty.")
    project: Annotated[Text, BeforeValidator(project_name)] = Field(
        default="",
        description="Pachyderm's project of the repo: the dataset `PROJECT/REPO` is read. "
        "The pipeline's own project (`pipeline.project`, else `default`) changes nothing.",
    )
    repo_type: Annotated[Any, Noted("ignored; every repo is a dataset")] = Field(
        default=None, description="Pachyderm's kind of the repo."
    )
    trigger: TriggerSpec | None = Field(
        default=None, description="A condition for new commits to count. Not for plain folders."
    )
    s3: Annotated[Any, Refused("not supported", "read the files below /pfs")] = Field(
        default=None, description="Access through an S3 gateway."
    )
    commit: Annotated[Any, Refused("not supported", "name a branch; every run records the commit it used")] = Field(
        default=None, description="A fixed commit to read."
    )


class CronSpec(Model):
    """A repo of ticks: one file for each due time, which is one datum."""

    name: Text = Field(description="Folder below /pfs. Unique; not `out`.")
    spec: CronText = Field(
        description="When a tick is due: a cron line (`0 3 * * *`), `@daily`, or `@every 10m`. "
        "`CRON_TZ=Europe/Berlin` before it sets the timezone. Default: UTC."
    )
    repo: Text = Field(
        default="", description="Path of the repo in the project. Default: `PIPELINE_NAME`. minipach makes it."
    )
    start: Moment = Field(
        default="",
        description="The first time that counts: `2026-01-31`, or `2026-01-31T03:00:00Z`. "
        "Default: when the repo of ticks is made.",
    )
    overwrite: Boolean = Field(default=False, description="Keep the newest tick only.")
    project: Annotated[Text, BeforeValidator(project_name), Noted(_PROJECT)] = Field(
        default="", description="Pachyderm's project of the repo."
    )
    commit: Annotated[Any, Refused("not supported", "remove it; every run records the commit it used")] = Field(
        default=None, description="A fixed commit to read."
    )


class InputSpec(Model):
    """Exactly one kind of input. Combinations contain inputs, nested freely."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    pfs: PfsSpec | None = Field(default=None, description="Paths of one repo: one datum per match.")
    cross: Some[InputSpec] | None = Field(default=None, description="Every combination of the members' datums.")
    union: Some[InputSpec] | None = Field(default=None, description="The members' datums, one after the other.")
    join: Some[InputSpec] | None = Field(default=None, description="The combinations whose `join_on` keys are equal.")
    group: Some[InputSpec] | None = Field(
        default=None, description="One datum per `group_by` key, with every file that has it."
    )
    cron: CronSpec | None = Field(default=None, description="Ticks of a clock: one datum for each due time.")


class SecretSpec(Model):
    """One secret: the run gets its value, and nothing that is kept does."""

    name: SecretName = Field(
        description="Name of the secret. The name is part of the datum's identity, the value is not."
    )
    env_var: Annotated[EnvName, OrUnset()] = Field(
        default="", description="Environment variable with the value. This or `mount_path` is required."
    )
    key: Annotated[SecretName, OrUnset()] = Field(
        default="", description="Key of a secret that has several values. List the secret once per key."
    )
    mount_path: Text = Field(
        default="",
        description="Folder with the value as a read-only file: `mount_path/key`, "
        "or `mount_path/name` without a `key`.",
    )


class TransformSpec(Model):
    """The command of each datum."""

    image: Text | None = Field(
        default=None,
        description="A registered container, the path of an image file, a URL, or a registry's image "
        "(`ubuntu`, `user/name:tag`). "
        "Default: the host's own environment.",
    )
    cmd: Annotated[list[Text], BeforeValidator(command), Field(min_length=1)] = Field(
        description="The program and its arguments. No shell interprets them. Placeholders are replaced, as in `out`; "
        "`{{ params.NAME }}` and other template values are looked up first."
    )
    stdin: Many[Text] = Field(default=[], description="Lines for the program's standard input.")
    env: dict[EnvName, Text] = Field(
        default={},
        description="Environment variables. Numbers count as written; true, false, yes and no need quotes.",
    )
    accept_return_code: Many[ExitCode] = Field(
        default=[], description="Exit codes (0-255) besides 0 that count as success."
    )
    working_dir: Text = Field(default="", description="Where the program starts. Default: the pipeline's repo.")
    secrets: Many[SecretSpec] = Field(
        default=[],
        description="Secrets. Their values are stored nowhere in the project (see docs/howto-trying.md).",
    )
    err_cmd: Annotated[list[Text], BeforeValidator(error_command)] = Field(
        default=[],
        description="A program like `cmd` that runs after each failed try. If it exits with 0, the datum is "
        "recovered: it has no output, does not count as failed, and runs again in the next job.",
    )
    err_stdin: Many[Text] = Field(default=[], description="Lines for the standard input of `err_cmd`.")
    user: Later = Field(default=None, description="User to run as.")
    datum_batching: Boolean = Field(
        default=False,
        description="`true`: the program is started once for many datums, and runs `minipach-next` for each of them "
        "(see docs/howto-batching.md).",
    )


class ParallelismSpec(Model):
    """The number of datum sets that run at once."""

    constant: Count = Field(default=0, description="Maximum of running datum sets; 0: the capacity of the executor.")


class DatumSetSpec(Model):
    """The division of datums into sets."""

    number: Count = Field(default=0, description="Datums in a set.")
    size_bytes: Count = Field(default=0, description="Bytes of input in a set.")
    per_worker: Count = Field(default=0, description="Sets for each worker (slot).")


class GpuSpec(Model):
    """Graphics processors."""

    type: Text = Field(default="", description="Type of the GPU; `nvidia.com/gpu` means any.")
    number: Count = Field(default=1, description="Number of GPUs.")


class ResourceSpec(Model):
    """The resources of one datum set."""

    cpu: Cpus | None = Field(default=None, description="CPUs: `4`, `0.5` or `500m`.")
    memory: Bytes | None = Field(
        default=None, description="Memory, with units k M G T P E (1000) or Ki Mi Gi Ti Pi Ei (1024)."
    )
    disk: Bytes | None = Field(default=None, description="Scratch space, with units as for memory.")
    gpu: GpuSpec | None = Field(default=None, description="Graphics processors.")


class PipelineName(Model):
    """The name of the pipeline. The name of the folder decides."""

    name: Annotated[Text, WithJsonSchema({"type": "string", "pattern": f"^{NAME}$"})] = Field(
        default="", description=f"The name of the folder, if given: {NAME_RULE}."
    )
    project: Annotated[Any, Noted(_PROJECT)] = Field(default=None, description="Pachyderm's project.")


class MetadataSpec(Model):
    """Free words about the pipeline: kept and shown."""

    annotations: dict[Text, Text] = Field(default={}, description="Any text by any key.")
    labels: dict[Text, Text] = Field(default={}, description="Any text by any key.")


class ExcludeSpec(Model):
    """Datums that are left out."""

    datum: Text = Field(description="The name of a datum, or a pattern: `*` stands for any characters.")
    reason: Text = Field(default="", description="Why; `minipach status` shows it.")


class SchedulingSpec(Model):
    """Nodes and priority of pods, on Kubernetes."""

    node_selector: dict[Text, Text] = Field(default={}, description="Labels that a node must have.")
    priority_class_name: Text = Field(default="", description="Priority class of the pods.")


class TolerationSpec(Model):
    """A taint of nodes that pods tolerate, on Kubernetes."""

    key: Text = Field(default="", description="The taint's key; empty: each, with `operator: Exists`.")
    operator: Literal["Equal", "Exists", "EQUAL", "EXISTS", "EMPTY"] = Field(
        default="Equal", description="How `value` is compared. `EMPTY` is `Equal`."
    )
    value: Text = Field(default="", description="The taint's value.")
    effect: Literal[
        "NoSchedule",
        "PreferNoSchedule",
        "NoExecute",
        "NO_SCHEDULE",
        "PREFER_NO_SCHEDULE",
        "NO_EXECUTE",
        "ALL_EFFECTS",
        "",
    ] = Field(default="", description="The taint's effect. Empty, `ALL_EFFECTS`: each.")
    toleration_seconds: Count = Field(default=0, description="For how long, with `NoExecute`; 0: without limit.")


class ObjectStorageSpec(Model):
    """A bucket that outputs are sent to."""

    url: EgressUrl = Field(description="`s3://BUCKET/PREFIX`.")


class EgressSpec(Model):
    """The place that outputs are sent to: `URL`, or `object_storage`. Each clone confirms it (docs/howto-stores.md)."""

    url: EgressUrl = Field(
        default="",
        validation_alias=AliasChoices("URL", "url"),
        description="`s3://BUCKET/PREFIX`, `ssh://HOST/PATH` or `file:///PATH`.",
    )
    object_storage: ObjectStorageSpec | None = Field(default=None, description="The same in Pachyderm 2.")
    sql_database: Annotated[Any, Refused("not supported", "load the files with a pipeline of yours")] = Field(
        default=None, description="A table of a database."
    )


class ServiceSpec(Model):
    """A program that runs until it is stopped, and answers on a port (docs/howto-services.md)."""

    internal_port: Port = Field(description="The port on which the program listens, also as `$PORT`.")
    external_port: PortOrNone = Field(
        default=0,
        description="The port at which others reach it: on this machine that of 127.0.0.1, in a cluster that of the "
        "Service. Default: `internal_port`.",
    )
    type: Literal["NodePort", "ClusterIP", "LoadBalancer", ""] = Field(
        default="NodePort", description="Type of the Service. For executor kubernetes."
    )
    ip: Text = Field(default="", description="`loadBalancerIP` of the Service. For executor kubernetes.")
    annotations: dict[Text, Text] = Field(default={}, description="Of the Service. For executor kubernetes.")


class LimitsSpec(Model):
    """Limits of each datum, besides `datum_timeout` and `resource_limits`."""

    processes: Count = Field(default=0, description="Processes and threads at once; 0: no limit.")
    file_size: Bytes = Field(default=0, description="Bytes of one file that the program writes; 0: no limit.")


class RetrySpec(Model):
    """The changes for a try of a datum after one that failed."""

    memory: Times | None = Field(
        default=None,
        description="After a try that was out of memory, the next one gets so many times as much: `resource_requests` "
        "and `resource_limits` count. At most `datum_tries` tries, and never more than a machine has.",
    )


class ScheduleSpec(Model):
    """The times at which the pipeline runs, and the policy for missed ones."""

    cron: Annotated[CronText, OrUnset()] = Field(
        default="",
        description="A cron line. It adds an input `schedule`, crossed with `input`: the files of each due time. "
        "Without it, the other fields are the policy of the `cron` inputs.",
    )
    timezone: Zone = Field(default="", description="Timezone of the cron lines, `start` and `end`. Default: UTC.")
    start: Moment = Field(
        default="", description="The first time that counts. Default: when the repo of ticks is made."
    )
    end: Moment = Field(default="", description="The last time that counts. Default: no end.")
    depends_on_past: Boolean = Field(default=False, description="A tick is added when the one before it has succeeded.")
    max_active_runs: Count = Field(default=0, description="At most so many ticks have no result yet; 0: no limit.")
    expired_limit: Duration = Field(
        default=0.0, description="Ticks that are missed by more than this are not made up. Default: no limit."
    )


class MinipachSpec(Model):
    """Fields that Pachyderm does not have."""

    identity: Literal["path", "content"] | None = Field(
        default=None,
        description="What identifies a datum. `path`: content and whole paths. "
        "`content`: the command sees neutral names, and equal content is computed once. "
        "Default: `minipach.identity` in the project's `.datalad/config`, else `path`.",
    )
    out: Text = Field(
        default="/",
        description="Folder for the files of /pfs/out: `/`, or a template such as `{name}/` or `{1}/{images.stem}/`.",
    )
    publish: Literal["complete", "available"] = Field(
        default="complete",
        description="`complete`: publish when all datums have succeeded. `available`: publish the available results "
        "when the job ends.",
    )
    outputs: Literal["optional", "required"] = Field(
        default="optional", description="`required`: a datum that writes nothing fails."
    )
    network: Boolean = Field(
        default=True,
        description="`false`: the program has no network. A service has none, unless `true` is written here.",
    )
    health: HealthPath = Field(
        default="",
        description="Path that a service answers with a status below 400 when it is ready, such as `/health`. "
        "Default: it is ready when its port takes connections.",
    )
    inputs: Literal["read-only", "writable"] = Field(
        default="read-only",
        description="`writable`: the program may change its inputs and write beside them; each datum gets private "
        "copies, which take time and disk. The sources do not change, and only /pfs/out is kept.",
    )
    code: Many[Text] = Field(
        default=[],
        description="Shared code: paths relative to the pipeline's folder, such as `../lib`. "
        "The program sees them at the same relative path, and they are part of every datum's identity.",
    )
    environment: Text = Field(
        default="",
        description="The recipe of an image, by its path: requirements.txt, pyproject.toml, uv.lock, "
        "environment.yml, pixi.lock, Dockerfile, Containerfile, NAME.def. `minipach schedule` builds the image, and "
        "builds it again when the recipe changes. Takes the place of `transform.image`.",
    )
    limits: LimitsSpec = Field(default=LimitsSpec(), description="Limits of each datum.")
    retry: RetrySpec = Field(default=RetrySpec(), description="Changes for another try of a datum.")
    schedule: ScheduleSpec | None = Field(default=None, description="When the pipeline runs by itself.")
    metrics: Many[Text] = Field(
        default=[],
        description="Outputs with metrics, by path below /pfs/out or pattern: JSON, YAML, or the last row of CSV. "
        "`minipach exp show` has them beside the parameters.",
    )
    exclude: Many[ExcludeSpec] = Field(
        default=[],
        description="Datums that do not run and have no output. The identity of the others does not change.",
    )
    params: dict[str, Any] = Field(
        default={},
        description="Parameters: values for `{{ params.NAME }}` in `cmd`, `stdin`, `env` and `out`. "
        "`params.yml` in the project may set others.",
    )


def _kept(description: str) -> Any:
    return Field(default=None, description=description)


class PipelineSpec(Model):
    """A whole spec.yml."""

    input: InputSpec = Field(description="The inputs, divided into datums.")
    transform: TransformSpec = Field(description="The program, its image and its environment.")
    pipeline: PipelineName = Field(default=PipelineName(), description="The pipeline's name.")
    description: Text = Field(default="", description="What the pipeline does, for people.")
    metadata: MetadataSpec = Field(default=MetadataSpec(), description="Annotations and labels.")
    minipach: MinipachSpec = Field(default=MinipachSpec(), description="Options of minipach itself.")
    datum_tries: Tries = Field(default=3, description="Number of tries of a datum, including the first.")
    parallelism_spec: ParallelismSpec = Field(
        default=ParallelismSpec(), description="Number of datum sets that run at once."
    )
    resource_requests: ResourceSpec | None = Field(
        default=None, description="Resources that the executor reserves for a datum set."
    )
    resource_limits: ResourceSpec | None = Field(
        default=None, description="Limits of each datum. `memory` and `disk` are enforced."
    )
    salt: Text = Field(
        default="", description="Any text; part of each datum's identity. Change it to run everything again."
    )
    reprocess_spec: Literal["until_success", "every_job"] = Field(
        default="until_success",
        description="`until_success`: a datum that succeeded does not run again. "
        "`every_job`: each new commit of an input runs all datums again.",
    )
    datum_timeout: Duration = Field(
        default=0.0,
        description="Time limit of one try of a datum: `90s`, `2h30m`; in whole seconds. At the limit all "
        "processes of the try are stopped, and it fails. Default: no limit.",
    )
    job_timeout: Duration = Field(
        default=0.0,
        description="Time limit of a job. At the limit running work is stopped, and datums without a result "
        "fail. Default: no limit.",
    )
    datum_set_spec: DatumSetSpec = Field(
        default=DatumSetSpec(), description="Division of datums into sets. Default: by measured duration."
    )
    output_branch: Branch | None = Field(
        default=None,
        description="Branch of the pipeline's dataset for the results. Default: the one checked out, whose working "
        "tree follows. For another branch no working tree changes. Downstream names it as `branch`.",
    )
    autoscaling: Annotated[Any, Noted(_KEPT)] = _kept("Stop idle workers.")
    scheduling_spec: SchedulingSpec = Field(
        default=SchedulingSpec(), description="Nodes and priority of pods. For executor kubernetes."
    )
    tolerations: list[TolerationSpec] = Field(
        default=[], description="Taints of nodes that pods tolerate. For executor kubernetes."
    )
    pod_spec: Text = Field(
        default="",
        description="Fields of the pod's spec as a JSON object (RFC 7386), as text; `pod_patch` comes after it. For "
        "executor kubernetes.",
    )
    pod_patch: Text = Field(
        default="", description="A JSON patch (RFC 6902) of the pod's spec, as text. For executor kubernetes."
    )
    sidecar_resource_requests: Annotated[Any, Noted(_KEPT)] = _kept("Resources of the storage sidecar.")
    sidecar_resource_limits: Annotated[Any, Noted(_KEPT)] = _kept("Limits of the storage sidecar.")
    maximum_expected_uptime: Annotated[Any, Noted(_KEPT)] = _kept("When to warn about a long run.")
    egress: Annotated[EgressSpec | None, BeforeValidator(unset)] = Field(
        default=None, description="The place that outputs are sent to under their names, after each publish."
    )
    service: Annotated[ServiceSpec | None, BeforeValidator(unset)] = Field(
        default=None, description="The program runs until it is stopped, and answers on a port."
    )
    spout: Annotated[Any, Refused("not supported", "let what receives the data commit it to a repo")] = _kept(
        "A source of streamed data."
    )
    s3_out: Annotated[Any, Refused("not supported", "write the results below /pfs/out")] = _kept(
        "Results through an S3 gateway."
    )
    tf_job: Annotated[Any, Refused("not supported", "write a `transform`")] = _kept("A Kubeflow job.")
    determined: Annotated[Any, Refused("not supported", "write a `transform`")] = _kept("Workspaces of Determined.")
