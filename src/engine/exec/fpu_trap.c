/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/exec/fpu_trap.h"

#include "engine/exec/thunk.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <ucontext.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction client;
static _Thread_local struct trap {
    sigjmp_buf env;
    uint32_t mxcsr;
} * current;

static void on_fpe(int sig, siginfo_t *info, void *context)
{
    const ucontext_t *uc = context;

    if (current != NULL) {
        current->mxcsr = uc->uc_mcontext.fpregs->mxcsr;
        siglongjmp(current->env, 1);
    }
    if ((client.sa_flags & SA_SIGINFO) != 0) {
        client.sa_sigaction(sig, info, context);
    } else if (client.sa_handler != SIG_DFL && client.sa_handler != SIG_IGN) {
        client.sa_handler(sig);
    } else {
        (void)sigaction(SIGFPE, &client, NULL); /* it comes again */
    }
}

bool fpu_trap_run(struct cpu *cpu, const struct insn *i, void *mem)
{
    struct sigaction trap = { .sa_sigaction = on_fpe, .sa_flags = SA_SIGINFO };
    struct trap here;
    sigset_t fpe, old;
    volatile bool raised = false;

    (void)sigemptyset(&fpe);
    (void)sigaddset(&fpe, SIGFPE);
    pthread_mutex_lock(&lock);
    (void)sigaction(SIGFPE, &trap, &client);
    (void)pthread_sigmask(SIG_UNBLOCK, &fpe, &old);
    if (sigsetjmp(here.env, 1) == 0) {
        current = &here;
        thunk_run(cpu, i, mem);
    } else {
        raised = true;
        __asm__ volatile("ldmxcsr %0" : : "m"(cpu->thunk.host_mxcsr));
        cpu->thunk.mxcsr = here.mxcsr;
    }
    current = NULL;
    (void)sigaction(SIGFPE, &client, NULL);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_mutex_unlock(&lock);
    return raised;
}
