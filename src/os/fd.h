/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fd.h - descriptors: whole reads and writes, memory files, passing over sockets.
 *
 * Every descriptor made here is close-on-exec. Functions return 0 or a negative errno.
 */
#pragma once

#include "base/own.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Exactly len bytes, or an error; the end of the file is -ENODATA. */
int fd_read_all(int fd, void *buf, size_t len) MUST_CHECK;
int fd_write_all(int fd, const void *buf, size_t len) MUST_CHECK;
int fd_pread_all(int fd, void *buf, size_t len, uint64_t off) MUST_CHECK;
int fd_pwrite_all(int fd, const void *buf, size_t len, uint64_t off) MUST_CHECK;

/* The whole file, NUL-terminated, owned by the caller; -EFBIG above max bytes. */
int fd_slurp(int fd, size_t max, char **ret, size_t *ret_len) MUST_CHECK;
int file_slurp(const char *path, size_t max, char **ret, size_t *ret_len) MUST_CHECK;

/* Replaces path in one step: temporary file beside it, fsync, rename, fsync of the folder. */
int file_replace(const char *path, const void *buf, size_t len, mode_t mode) MUST_CHECK;

int fd_set_nonblock(int fd, bool on) MUST_CHECK;

/* An anonymous memory file of that size. */
int fd_memfd(const char *name, uint64_t size, int *ret) MUST_CHECK;

/* Sends or receives bytes with up to max descriptors (SCM_RIGHTS). Return the byte count. */
ssize_t fd_send_with(int sock, const void *buf, size_t len, const int *fds, size_t n_fds);
ssize_t fd_recv_with(int sock, void *buf, size_t len, int *fds, size_t max_fds, size_t *ret_n_fds);

/* Closes all descriptors from first up, but for those in keep (sorted ascending). */
int fd_close_from(int first, const int *keep, size_t n_keep);

/* open() with O_CLOEXEC, or what a confined program has put in its place: a descriptor, or a
 * negative errno. */
typedef int fd_opener_fn(void *arg, const char *path, int flags, unsigned mode);
int fd_open(const char *path, int flags, unsigned mode);
void fd_set_opener(fd_opener_fn *fn, void *arg);
