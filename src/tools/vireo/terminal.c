/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/vireo/terminal.h"

#include <signal.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

static struct termios saved;
static volatile sig_atomic_t is_raw;

void terminal_restore(void)
{
    if (is_raw != 0) {
        is_raw = 0;
        (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &saved);
    }
}

static void on_fatal(int signo)
{
    terminal_restore();
    (void)signal(signo, SIG_DFL);
    (void)raise(signo);
}

bool terminal_raw(void)
{
    static const int fatal[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGSEGV, SIGBUS, SIGABRT };
    struct termios raw;

    if (isatty(STDIN_FILENO) == 0 || isatty(STDOUT_FILENO) == 0 ||
        tcgetattr(STDIN_FILENO, &saved) != 0) {
        return false;
    }
    raw = saved;
    cfmakeraw(&raw);
    if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw) != 0) {
        return false;
    }
    is_raw = 1;
    (void)atexit(terminal_restore);
    for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++) {
        (void)signal(fatal[i], on_fatal);
    }
    return true;
}

bool terminal_size(struct winsize *ret)
{
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, ret) == 0 && ret->ws_row != 0 && ret->ws_col != 0;
}
