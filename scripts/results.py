#!/usr/bin/env python3
"""Reads what `dotnet test` wrote down (trx files), for scripts/test.sh.

  results.py filter FIRST.trx            an expression for `dotnet test --filter` that picks the tests which failed
  results.py summary FIRST.trx [AGAIN.trx]
                                         what was slow, what failed, what failed once only; the last line on stdout is
                                         "PASSED FAILED SKIPPED". A test that failed and passes in AGAIN counts as passed.
"""
import os
import sys
import xml.etree.ElementTree as xml

SLOW_SECONDS = 5
SLOW_LINES = 15
SPACE = {"t": "http://microsoft.com/schemas/VisualStudio/TeamTest/2010"}


def read(path):
    """The results by test name, as (outcome, seconds), and the method of each test name."""
    results, methods = {}, {}
    if not path or not os.path.exists(path):
        return results, methods
    root = xml.parse(path).getroot()
    for test in root.iterfind(".//t:UnitTest", SPACE):
        method = test.find("t:TestMethod", SPACE)
        methods[test.get("id")] = f'{method.get("className")}.{method.get("name").split("(")[0]}'
    by_name = {}
    for result in root.iterfind(".//t:UnitTestResult", SPACE):
        hours, minutes, seconds = (result.get("duration") or "0:0:0").split(":")
        method = methods.get(result.get("testId"), result.get("testName"))
        name = f'{method}: {result.get("testName")}'
        results[name] = (result.get("outcome"), int(hours) * 3600 + int(minutes) * 60 + float(seconds))
        by_name[name] = method
    return results, by_name


def failed(results):
    return sorted(name for name, (outcome, _) in results.items() if outcome not in ("Passed", "NotExecuted"))


def main():
    verb, first = sys.argv[1], sys.argv[2]
    results, methods = read(first)
    if verb == "filter":
        print("|".join(f"FullyQualifiedName={method}" for method in sorted({methods[name] for name in failed(results)})))
        return
    again, _ = read(sys.argv[3] if len(sys.argv) > 3 else None)
    slow = sorted(((seconds, name) for name, (_, seconds) in results.items() if seconds >= SLOW_SECONDS), reverse=True)
    if slow:
        print("slow tests:")
    for seconds, name in slow[:SLOW_LINES]:
        print(f"{seconds:7.1f} s {name.split(': ', 1)[1]}")
    once = [name for name in failed(results) if again.get(name, ("",))[0] == "Passed"]
    lasting = [name for name in failed(results) if name not in once]
    for title, names in (("failed once, passed when run alone:", once), ("failed:", lasting)):
        if names:
            print(title)
        for name in names:
            print(f"    {name}")
    skipped = sum(outcome == "NotExecuted" for outcome, _ in results.values())
    print(len(results) - len(lasting) - skipped, len(lasting), skipped)


main()
