"""moto's server: S3's protocol, and IAM's policies where they are asked for; its objects are in its memory."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import boto3

from integration.store.server import Server, new_name

_REGION = "us-east-1"
_WITHOUT_DELETE = ["s3:PutObject", "s3:GetObject", "s3:ListBucket"]


class S3Server(Server):
    scheme = "s3"

    def command(self) -> list[str]:
        return [sys.executable, str(Path(__file__).with_name("moto_program.py")), str(self.port)]

    def make_bucket(self) -> str:
        name = new_name()
        self.client("s3").create_bucket(Bucket=name)
        return name

    def fill(self, bucket: str, prefix: str, count: int) -> None:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{bucket} {prefix} {count}\n")
        process.stdin.flush()
        assert process.stdout.readline() == "done\n"

    def environment(self, url: str, *, bucket: str, may_delete: bool = True) -> dict[str, str]:
        keys = {"AccessKeyId": "test", "SecretAccessKey": "test"} if may_delete else self._keys_without_delete(bucket)
        return {
            "AWS_ENDPOINT_URL": url,
            "AWS_REGION": _REGION,
            "AWS_ACCESS_KEY_ID": keys["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": keys["SecretAccessKey"],
        }

    def _keys_without_delete(self, bucket: str) -> dict[str, str]:
        """Make a user who may create, get and list, and have policies obeyed from now on."""
        iam = self.client("iam")
        resources = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
        statement = {"Effect": "Allow", "Action": _WITHOUT_DELETE, "Resource": resources}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        user = f"sidecar-of-{bucket}"
        iam.create_user(UserName=user)
        iam.put_user_policy(UserName=user, PolicyName="store", PolicyDocument=policy)
        keys: dict[str, str] = iam.create_access_key(UserName=user)["AccessKey"]
        self.obey_policies(True)
        return keys

    def obey_policies(self, obey: bool) -> None:
        """Say whether requests need rights from now on."""
        self.ask("POST", "/moto-api/reset-auth", b"0" if obey else b"inf", {"Content-Type": "text/plain"})

    def variables(self) -> dict[str, str]:
        return {**os.environ, "INITIAL_NO_AUTH_ACTION_COUNT": "inf"}

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=_REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
