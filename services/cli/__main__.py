"""The `tiermesh` command."""

from __future__ import annotations

import click

from services.cli.commands.account import account
from services.cli.commands.certs import certs
from services.cli.commands.credits import balance, credits_group
from services.cli.commands.deposits.faucet import faucet
from services.cli.commands.deposits.listing import deposits
from services.cli.commands.deposits.sweep import check, sweep
from services.cli.commands.doctor import doctor
from services.cli.commands.etcd import etcd
from services.cli.commands.key import key
from services.cli.commands.ledger import ledger
from services.cli.commands.mesh import models, runner_group, runners
from services.cli.commands.operator import operator
from services.cli.commands.prometheus_targets import prometheus_targets
from services.cli.commands.up import up
from services.cli.commands.usage import usage
from services.cli.commands.x402.listing import x402
from services.cli.commands.x402.pay import pay
from services.cli.commands.x402.refund import refund
from services.cli.receipts.commands import receipt
from services.common.version import VERSION


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(VERSION, message="tiermesh %(version)s")
def main() -> None:
    """An OpenAI-compatible inference service sold by prepaid credits."""


_MANAGEMENT = (
    *(account, operator, key, credits_group, balance, usage, receipt),
    *(runners, runner_group, models, ledger, deposits, x402, faucet),
)
_OPERATIONS = (up, certs, doctor, etcd, prometheus_targets)

for command in (check, sweep):
    deposits.add_command(command)
for command in (pay, refund):
    x402.add_command(command)

for command in (*_MANAGEMENT, *_OPERATIONS):
    main.add_command(command)

if __name__ == "__main__":
    main()
