"""The options of `mmfeat extract`. Every field is a flag."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mmfeat.config import OutputPath, RepeatedFlag, ShardsPath
from mmfeat.encoders import Compile, Decode, EncoderSpec, Precision, Settings, builtin_for
from mmfeat.errors import MmfeatError
from mmfeat.system import default_threads


@dataclass
class ExtractConfig:
    """Run frozen encoders over shards, once, and store a feature of every record.

    Without --encoder, every slot (image, text, text.desc, …) uses the built-in encoder of its
    modality. Run the command again with another --encoder to add a column; columns that already
    exist are skipped. Unknown flags go to Apache Beam, for example --runner=DataflowRunner.
    """

    shards: ShardsPath
    """Output directory of `mmfeat shard`."""
    output: OutputPath
    """Directory to write the features to."""
    encoder: RepeatedFlag = ()
    """COLUMN=SCHEME:NAME?OPTION=VALUE, for example image=builtin:image. Write COLUMN:MODALITY=… if
    the column is not named after its modality, and COLUMN:SLOT=… if a record has several texts,
    images or sounds: desc:text.desc=builtin:text. Repeat the flag for each column."""
    precision: Precision = "auto"
    """Precision of the weights and the forward pass. auto measures, when a column is started, which
    is fastest with the features of float32."""
    device: str = "auto"
    """auto (all GPUs, or the CPU if there is none), cpu, cuda, cuda:1, cuda:0,1."""
    batch_size: int = 0
    """Maximum number of records per batch; 0 = measure the fastest when a column is started."""
    decode: Decode = "auto"
    """Where JPEGs are decoded: cpu; gpu, which needs a GPU and torchcodec; auto measures, when a
    column is started, which is faster with the same features. The GPU reads plain JPEGs only, the
    CPU reads all other files."""
    compile: Compile = "auto"
    """Whether to compile the forward pass of image encoders: on, off, or auto, which compiles on a
    GPU if that saves more time than it takes. If the compiler fails, the column starts without."""
    full_decoding: bool = False
    """Decode JPEGs at full size even if the encoder needs a much smaller image."""
    trust_remote_code: bool = False
    """Run code that is part of a checkpoint."""
    remeasure: bool = False
    """Measure precision, decoder and batch size again, although this machine has done so for the
    same encoder."""
    processes: int = 0
    """Processes that make shards in parallel on this machine; 0 = one per GPU, one per core if all
    encoders are built-in ones, which use one core each, else 1."""
    threads: int = 0
    """Threads per process that decode, and on a CPU that encode a batch each; 0 = one per core."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "processes", "threads"):
            if getattr(self, name) < 0:
                flag = f"--{name.replace('_', '-')}"
                raise MmfeatError(f"{flag} must not be negative", got=getattr(self, name))

    @property
    def decoding_threads(self) -> int:
        """Number of decoding threads."""
        return self.threads or default_threads()

    @property
    def settings(self) -> Settings:
        """Settings of the encoders."""
        return Settings(
            device=self.device,
            precision=self.precision,
            decode=self.decode,
            compile=self.compile,
            reduced_decoding=not self.full_decoding,
            threads=self.decoding_threads,
            trust_remote_code=self.trust_remote_code,
        )

    def choose_encoders(self, slots: Sequence[str]) -> dict[str, EncoderSpec]:
        """Return column → encoder with its slot: those of --encoder, else the built-in ones.

        Args:
            slots: slots of the shards.

        Raises:
            MmfeatError: an invalid --encoder, a repeated column, a slot that the shards lack, or a
                modality of which they have several slots.
        """
        specs = [EncoderSpec.parse(text) for text in self.encoder]
        if not specs:
            specs = [spec for slot in slots if (spec := builtin_for(slot))]
        counts = Counter(spec.column for spec in specs)
        if duplicates := [column for column, count in counts.items() if count > 1]:
            raise MmfeatError(
                "--encoder must give each column once",
                got=duplicates[0],
                cure="Give each --encoder a column name of its own",
            )
        return {spec.column: spec.bind(slots) for spec in specs}
