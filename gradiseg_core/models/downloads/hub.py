"""Fetches files of Hugging Face repositories and compares them with the hub's hashes."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from gradiseg_core.errors import BackendUnavailableError, DownloadError
from gradiseg_core.models.downloads.disk import full_disk_explained, require_space
from gradiseg_core.models.downloads.hashes import file_sha256, git_blob_sha1
from gradiseg_core.models.downloads.http import (
    TRANSIENT_ERRORS,
    TransientError,
    UnreachableError,
    pause,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class HubFile:
    """A file of a repository at one commit.

    Attributes:
        path: Path in the repository.
        size: Bytes.
        sha256: Hash of a large file; None for a small one, which has ``blob`` only.
        blob: Git's name of a small file's content.
    """

    path: str
    size: int
    sha256: str | None
    blob: str


class Hub:
    """One public repository, read with the client of the hub.

    Args:
        repo: ``owner/name`` of a model repository.
        revision: Branch or commit.
        retries: Further attempts after those of the client itself, which tries each request
            several times with pauses.
        timeout_s: Longest wait for an answer, s.
        endpoint: Address of the hub; None takes the client's (``HF_ENDPOINT``).
        sleep: Waits; replaced by tests.
    """

    def __init__(
        self,
        repo: str,
        revision: str,
        *,
        retries: int,
        timeout_s: float,
        endpoint: str | None = None,
        sleep: Callable[[float], Any] = time.sleep,
    ) -> None:
        self.repo, self.revision = repo, revision
        self._retries, self._timeout_s, self._sleep = retries, timeout_s, sleep
        self._endpoint = endpoint
        try:
            from huggingface_hub import HfApi
        except ImportError as error:
            raise BackendUnavailableError(
                f"fetching {repo} needs the package huggingface-hub; run `pip install "
                "-e '.[models]'`, start Snakemake with `--sdm conda`, or fetch it by hand"
            ) from error
        # Public repositories need no token: none is sent, so that an outdated one does no harm.
        self._api = HfApi(endpoint=endpoint, token=False)

    def commit(self) -> str:
        """Return the commit of the revision.

        Raises:
            DownloadError: If the repository or revision does not exist or cannot be reached.
        """

        def ask() -> str:
            info = self._api.repo_info(self.repo, revision=self.revision, timeout=self._timeout_s)
            assert info.sha is not None, "the hub names the commit of every revision"
            return info.sha

        return self._tried(ask, self.revision)

    def files(self, commit: str, below: str = "") -> list[HubFile]:
        """Return the files of the repository, or of one folder of it.

        Raises:
            DownloadError: If the repository or folder does not exist or cannot be reached, or a
                path leads out of it.
        """
        from huggingface_hub.hf_api import RepoFile

        def ask() -> list[HubFile]:
            tree = self._api.list_repo_tree(
                self.repo, below or None, recursive=True, revision=commit
            )
            return [
                HubFile(
                    entry.path,
                    entry.lfs.size if entry.lfs else entry.size,
                    entry.lfs.sha256 if entry.lfs else None,
                    entry.blob_id,
                )
                for entry in tree
                if isinstance(entry, RepoFile)
            ]

        found = self._tried(ask, below or self.revision)
        for file in found:
            if file.path.startswith("/") or ".." in PurePosixPath(file.path).parts:
                raise DownloadError(
                    f"the hub repository {self.repo} is refused: it lists the path {file.path!r}"
                )
        return found

    def fetch(self, files: list[HubFile], commit: str, folder: Path) -> None:
        """Fetch files into ``folder``, at their paths in the repository, and check their hashes.

        What an earlier call fetched is kept, and what it left cut short is completed.

        Raises:
            UnreachableError: If the connection fails again and again.
            DownloadError: If a file cannot be fetched or has another hash than the hub says; if
                the disk is or would be full.
        """
        from huggingface_hub import hf_hub_download

        what = f"the hub repository {self.repo}"
        folder.mkdir(parents=True, exist_ok=True)
        missing = [file for file in files if not _is_right(folder / file.path, file)]
        require_space(folder, sum(file.size for file in missing), what)
        for file in missing:
            logger.info("fetching %s of %s", file.path, self.repo)

            def ask(file: HubFile = file) -> None:
                with full_disk_explained(folder, what):
                    hf_hub_download(
                        self.repo,
                        file.path,
                        revision=commit,
                        local_dir=folder,
                        endpoint=self._endpoint,
                        etag_timeout=self._timeout_s,
                        token=False,
                    )

            self._tried(ask, file.path)
            if not _is_right(folder / file.path, file):
                (folder / file.path).unlink(missing_ok=True)
                raise DownloadError(
                    f"{self.repo}: {file.path} arrived with another hash than the hub publishes; "
                    "it is removed. Run again; if that does not help, a proxy changes the file"
                )
        shutil.rmtree(folder / ".cache", ignore_errors=True)  # the client's notes on resuming

    def _tried(self, ask: Callable[[], Any], name: str) -> Any:
        for attempt in range(1, self._retries + 2):
            try:
                with self._explained(name):
                    return ask()
            except TransientError as error:
                if attempt > self._retries:
                    raise UnreachableError(
                        f"{name} of the hub repository {self.repo} could not be fetched: {error}, "
                        f"after {attempt} attempts; check the connection and run again"
                    ) from error
                logger.warning("%s of %s: %s; trying again", name, self.repo, error)
                pause(attempt, self._sleep)

    @contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        """Turn the client's errors into ours: transient ones, and those that stay."""
        from huggingface_hub import errors

        where = f"{name} of the hub repository {self.repo} (revision {self.revision})"
        try:
            yield
        except errors.GatedRepoError as error:
            raise DownloadError(
                f"{where} is only for users who accepted its terms; open "
                f"https://huggingface.co/{self.repo}, fetch it by hand and name the folder"
            ) from error
        except (
            errors.RepositoryNotFoundError,
            errors.RevisionNotFoundError,
            errors.RemoteEntryNotFoundError,
        ) as error:
            raise DownloadError(
                f"{where} does not exist: it was moved or removed; fetch the data by hand from "
                "another place and name its folder in the configuration"
            ) from error
        except errors.OfflineModeIsEnabled as error:
            raise DownloadError(
                f"{where} was not fetched: HF_HUB_OFFLINE is set in the environment"
            ) from error
        except errors.HfHubHTTPError as error:
            status = error.response.status_code
            message = f"the hub answered {status}"
            if status in (408, 425, 429) or status >= 500:
                raise TransientError(message) from error
            raise DownloadError(f"{where} was refused: {message}") from error
        except (errors.FileMetadataError, json.JSONDecodeError) as error:
            raise DownloadError(
                f"{where}: the answer is not the hub's ({error}); a proxy or a login stands between"
            ) from error
        except Exception as error:
            if isinstance(error, (errors.LocalEntryNotFoundError, *TRANSIENT_ERRORS)):
                raise TransientError("no connection to the hub, or it was cut") from error
            # The client's HTTP library goes by two names, httpx and httpx2; an error without a
            # number is the client's own, about a file that came out shorter than announced.
            library = type(error).__module__.partition(".")[0].startswith("httpx")
            if library or (isinstance(error, OSError) and error.errno is None):
                raise TransientError("no connection to the hub, or it was cut") from error
            raise


def _is_right(path: Path, file: HubFile) -> bool:
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    if file.sha256 is not None:
        return file_sha256(path) == file.sha256
    return git_blob_sha1(path) == file.blob
