"""Signatures of model runs: OpenSSF model-signing with an elliptic key on this machine. No network, no certificate authority.

`model.sig` lies beside the manifest and covers it and the whole payload; status, cost and reports stay outside, as they stay
outside the run digest. On a laptop the key pair is made on first use under `$UVR_HOME/keys` (default `~/.uvrlab/keys`); a team
names its public key in the recipe (`register.public_key`) and signs with `uvr sign RUN --key PRIVATE` where models are made.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from uvrlab.runs import MANIFEST, OUTSIDE_DIGEST, PLACES, SIGNATURE, RunDir, RunError, sha256_bytes

PRIVATE, PUBLIC = "signing.pem", "signing.pub.pem"


def key_dir() -> Path:
    """Where this machine keeps its key pair: `$UVR_HOME/keys`, else `~/.uvrlab/keys`."""
    return Path(os.environ.get("UVR_HOME") or Path.home() / ".uvrlab") / "keys"


def local_key() -> tuple[Path, Path]:
    """(private, public) key files of this machine, made on first use; the private one is readable by its owner alone."""
    from cryptography.hazmat.primitives import serialization as forms
    from cryptography.hazmat.primitives.asymmetric import ec

    private, public = key_dir() / PRIVATE, key_dir() / PUBLIC
    private.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not private.is_file():
        made = ec.generate_private_key(ec.SECP256R1())
        text = made.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption())
        partial = private.with_name(f".{PRIVATE}.{os.getpid()}")
        partial.touch(mode=0o600)
        partial.write_bytes(text)
        try:
            os.link(partial, private)  # of two processes the first one's key stays
        except FileExistsError:
            pass
        finally:
            partial.unlink()
    if not public.is_file():
        _replace(public, public_key(private))
    return private, public


def public_key(private: Path) -> bytes:
    """The public half of a private key file, as PEM. Raises RunError for a file that is none."""
    from cryptography.hazmat.primitives import serialization as forms

    try:
        key = forms.load_pem_private_key(private.read_bytes(), password=None)
    except (ValueError, TypeError, OSError) as error:
        raise RunError(f"{private}: no unencrypted PEM private key ({error}); expected one of an elliptic curve") from error
    return key.public_key().public_bytes(forms.Encoding.PEM, forms.PublicFormat.SubjectPublicKeyInfo)


def fingerprint(public: Path | bytes) -> str:
    """The first 16 hexadecimal digits of a public key's sha256."""
    return sha256_bytes(public if isinstance(public, bytes) else public.read_bytes())[:16]


def sign(run: Path, private: Path | None = None) -> Path:
    """Sign a model run, by default with this machine's key; returns the signature file. Raises RunError for an altered run."""
    from model_signing.signing import Config

    RunDir(run).verify()
    private = private or local_key()[0]
    public_key(private)
    signature = run / SIGNATURE
    signature.unlink(missing_ok=True)
    Config().use_elliptic_key_signer(private_key=private).set_hashing_config(_covered(run)).sign(run, signature)
    return signature


def verify(run: Path, public: Path) -> None:
    """Raise RunError where a run is unsigned, was signed by another key, or differs from what was signed."""
    from model_signing.verifying import Config

    signature = run / SIGNATURE
    if not signature.is_file():
        raise RunError(f"{run} is unsigned: no {SIGNATURE}; sign it where it was made: uvr sign {run} --key PRIVATE_KEY")
    if not public.is_file():
        raise RunError(f"no public key at {public}; expected a PEM file")
    try:
        Config().use_elliptic_key_verifier(public_key=public).set_hashing_config(_covered(run)).verify(run, signature)
    except Exception as error:  # the library raises errors of its own, of pydantic and of cryptography
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise RunError(f"{run}: the signature does not hold under key {fingerprint(public)}: {said}; restore the model") from error


def _covered(run: Path) -> Any:
    from model_signing.hashing import Config

    # model-signing takes relative paths as relative to the model, whatever the current directory
    ignored = [Path(name) for name in sorted(OUTSIDE_DIGEST - {MANIFEST})] + [p.relative_to(run) for p in sorted(run.rglob(PLACES))]
    return Config().set_ignored_paths(paths=ignored, ignore_git_paths=True)


def _replace(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_bytes(content)
    partial.replace(path)
