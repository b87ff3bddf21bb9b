const lingerMs = 20_000;

/**
 * Ends a test run with `N passed, N failed`. A test that could not run here counts as failed: a gate that is green because
 * a lab did not start is worth nothing. UNDROP_SKIP=allow lets them pass, for machines without root.
 */
export default class Reporter {
  skippedCount = 0;

  constructor({ watch, watchAll }) {
    this.watching = watch || watchAll;
  }

  onTestResult(_test, { testResults }) {
    for (const { status, fullName } of testResults)
      if (status === 'pending' || status === 'todo') {
        this.skippedCount++;
        process.stderr.write(`skipped: ${fullName}\n`);
      }
  }

  onRunComplete(_contexts, { numPassedTests, numFailedTests, numRuntimeErrorTestSuites, testResults }) {
    // A file that could not even be loaded has no tests to count, and is one failure.
    const broken = testResults.filter(({ testExecError }) => testExecError).length || numRuntimeErrorTestSuites;
    const skipped = process.env.UNDROP_SKIP === 'allow' ? 0 : this.skippedCount;
    this.failed = numFailedTests + broken + skipped;
    const note = this.skippedCount ? ` (${this.skippedCount} could not run here)` : '';
    // What a test left running would keep the gate waiting for ever, after its verdict.
    const linger = setTimeout(() => {
      process.stderr.write(`a test left something running: ${process.getActiveResourcesInfo().join(', ')}\n`);
      this.failed++;
      process.exit(1);
    }, lingerMs).unref();
    if (this.watching) clearTimeout(linger);
    // jest's own summary comes after the reporters; this line has to be the last one.
    process.on('exit', () => process.stdout.write(`\n${numPassedTests} passed, ${this.failed} failed${note}\n`));
  }

  getLastError() {
    return this.failed ? new Error(`${this.failed} failed`) : undefined;
  }
}
