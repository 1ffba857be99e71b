/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vireo/kvm.h - KVM's API in user space.
 *
 * The functions stand where open("/dev/kvm"), ioctl(), mmap() and close() stand: the same requests,
 * structures, results and errno values as the kernel's (Documentation/virt/kvm/api.rst, API version
 * 12). Handles are real file descriptors, so that poll(), mmap() of a vCPU's descriptor and
 * descriptor passing behave; only ioctl() and close() must come here.
 *
 * Thread rules are KVM's: a vCPU's requests come from one thread at a time, everything else from
 * any. KVM_RUN executes the guest in the calling thread. It returns -1/EINTR soon after
 * kvm_run->immediate_exit was set, which is what a signal handler in that thread is to do.
 */
#ifndef VIREO_KVM_H
#define VIREO_KVM_H

#ifdef __cplusplus
extern "C" {
#endif

/* A system handle, or -1 with errno set. */
int vireo_kvm_open(void);

/* As ioctl(2). A descriptor that is not one of ours: -1 with EBADF. */
int vireo_kvm_ioctl(int fd, unsigned long request, void *arg);

/* As close(2). The object lives on while descriptors made from it are open. */
int vireo_kvm_close(int fd);

/* Non-zero when the descriptor is one of ours. Async-signal-safe. */
int vireo_kvm_owns(int fd);

/* Makes a descriptor that dup(2) made out of one of ours known. 0, or -1 with errno set. */
int vireo_kvm_dup(int old_fd, int new_fd);

#ifdef __cplusplus
}
#endif

#endif
