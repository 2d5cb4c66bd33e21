/* A run on systems without threads: all on the calling one. */
#include "../compiler.h"
#include "threads.h"

#if !FC_HAS_THREADS

void fc_parallel(fc_run *run, int tasks, void (*task)(void *context, int task), void *context) {
    fc_run_tasks(run->flush, 0, 1, tasks, task, context);
}

fc_run fc_start(int threads, fc_question interrupted) {
    return (fc_run){.threads = threads, .interrupted = interrupted, .mode = fc_get_float_mode(), .status = FC_OK};
}

int fc_stopped(fc_run *run) { return run->status != FC_OK; }

fc_question fc_question_here(const fc_run *run) { return run->interrupted; }

void fc_stop(fc_run *run, fc_status status) {
    if (run->status == FC_OK) run->status = status;
}

#endif
