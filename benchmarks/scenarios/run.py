"""Runs scenarios one after the other, each repeat as a consumer process of its own, and keeps what comes of them."""

from collections.abc import Callable

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from benchmarks.scenarios import results, works
from benchmarks.scenarios.broker import Broker
from benchmarks.scenarios.errors import MeasureError
from benchmarks.scenarios.job import Job, Outcome
from benchmarks.scenarios.measure import Member, Told, settings
from benchmarks.scenarios.model import Scenario
from benchmarks.scenarios.results import Result, Results

_POOL_AT_MOST = 512
"""Bound of the knob workerPoolSize."""


def outcome(scenario: Scenario, broker: Broker, told: Told = lambda _: None) -> Outcome:
    """Return what one repeat of a scenario did. Raises MeasureError."""
    topic = broker.filled("scenarios", scenario.num_instances)
    execution = {
        "mode": scenario.strategy.value,
        "ordering": "unordered",
        "max_in_flight": scenario.max_concurrent_jobs,
        "worker_pool_size": min(scenario.max_concurrent_jobs, _POOL_AT_MOST),
        "task_timeout_ms": scenario.job_timeout_ms,
        "shutdown_grace_seconds": 5,
    }
    entrypoint = works.entrypoint(scenario.strategy, scenario.workload_type)
    job = Job(
        settings=settings(broker.servers, [topic], entrypoint, execution=execution, retry={"max_retries": 0}),
        seconds=scenario.timeout,
        messages=scenario.num_instances,
    )
    with Member({works.SECONDS_VARIABLE: f"{scenario.work_duration:g}"}) as member:
        return member.run(job, told)


def perform(scenario: Scenario, broker: Broker, told: Told = lambda _: None) -> Result:
    """Return a scenario's line, whatever became of it."""
    outcomes: list[Outcome] = []
    try:
        for repeat in range(scenario.repeats):
            outcomes.append(outcome(scenario, broker, _beyond(repeat * scenario.num_instances, told)))
            if outcomes[-1].error:
                break
    except MeasureError as error:
        return results.result(scenario, outcomes, error=str(error))
    return results.result(scenario, outcomes)


def perform_one(scenario: Scenario, broker: Broker, console: Console) -> Result:
    """Return the line of one scenario, with its progress meanwhile."""
    with _progress(console) as bars:
        jobs = bars.add_task("jobs", total=scenario.num_instances * scenario.repeats)
        return perform(scenario, broker, _telling(bars, jobs))


def _beyond(before: int, told: Told) -> Told:
    return lambda count: told(before + count)


def run_all(found: Results, broker: Broker, console: Console, *, continue_on_error: bool) -> bool:
    """Run what has no result yet; return whether all did well. The first that did not ends it, unless told to go on."""
    is_well = True
    with _progress(console) as bars:
        scenarios = bars.add_task("scenarios", total=len(found.chosen), completed=len(found.chosen) - len(found.todo))
        for scenario in found.todo:
            jobs = bars.add_task(f"  {escape(scenario.name)}", total=scenario.num_instances * scenario.repeats)
            line = perform(scenario, broker, _telling(bars, jobs))
            found.add(line)
            bars.remove_task(jobs)
            bars.advance(scenarios)
            console.print(told(line))
            is_well = is_well and line["status"] == results.SUCCESS
            if not is_well and not continue_on_error:
                return False
    return is_well


def told(line: Result) -> str:
    """Return a result as a line for people, in rich's markup."""
    name = escape(line["name"])
    if line["status"] != results.SUCCESS:
        return f"[red]{line['status']:8}[/] {name}  {escape(line['error'])}"
    rate, seconds = line["jobs_per_second_avg"], line["total_time"]
    return f"[green]success[/]  {name:55} {rate:>9,.2f} jobs/s  {seconds:8.2f} s  {line['memory_peak_mb']:.0f} MB"


def _telling(bars: Progress, task: TaskID) -> Callable[[int], None]:
    return lambda count: bars.update(task, completed=count)


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, TimeRemainingColumn(), console=console, transient=True)
