/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * handle.c - the descriptors, and the entry points of vireo/kvm.h.
 *
 * The table is indexed by descriptor and read under a read lock only for as long as it takes to
 * count a reference, so that a close in one thread never pulls an object from under a request.
 */
#include "engine/api/handle.h"

#include "engine/api/vcpu.h"
#include "engine/api/vm.h"
#include "os/fd.h"
#include "vireo/kvm.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>

enum { MAX_FDS = 1 << 16 };

static struct handle *table; /* MAX_FDS entries, zero pages until used */
static pthread_rwlock_t table_lock = PTHREAD_RWLOCK_INITIALIZER;

static void object_unref(struct handle h)
{
    if (h.kind == HANDLE_VM) {
        vm_unref(h.object);
    } else if (h.kind == HANDLE_VCPU) {
        vcpu_unref(h.object);
    }
}

static void object_ref(struct handle h)
{
    if (h.kind == HANDLE_VM) {
        vm_ref(h.object);
    } else if (h.kind == HANDLE_VCPU) {
        vcpu_ref(h.object);
    }
}

static struct handle handle_get(int fd)
{
    struct handle h = { .kind = HANDLE_NONE };

    (void)pthread_rwlock_rdlock(&table_lock);
    if (table != NULL && fd >= 0 && fd < MAX_FDS) {
        h = table[fd];
        object_ref(h);
    }
    (void)pthread_rwlock_unlock(&table_lock);
    return h;
}

/* Returns what stood there before (a descriptor that was closed behind our back). */
static int handle_set(int fd, struct handle h, struct handle *ret_old)
{
    if (fd >= MAX_FDS) {
        return -EMFILE;
    }
    (void)pthread_rwlock_wrlock(&table_lock);
    if (table == NULL) {
        table = calloc(MAX_FDS, sizeof(*table));
    }
    if (table == NULL) {
        (void)pthread_rwlock_unlock(&table_lock);
        return -ENOMEM;
    }
    *ret_old = table[fd];
    table[fd] = h;
    (void)pthread_rwlock_unlock(&table_lock);
    return 0;
}

int handle_new(enum handle_kind kind, void *object, const char *name, uint64_t size)
{
    struct handle old;
    AUTO_FD int fd = -1;
    int r = fd_memfd(name, size, &fd);

    if (r == 0) {
        r = handle_set(fd, (struct handle) { .kind = kind, .object = object }, &old);
    }
    if (r < 0) {
        return r;
    }
    object_unref(old);
    return TAKE_FD(fd);
}

int vireo_kvm_open(void)
{
    int fd = handle_new(HANDLE_SYSTEM, NULL, "vireo-kvm", 0);

    if (fd < 0) {
        errno = -fd;
        return -1;
    }
    return fd;
}

int vireo_kvm_owns(int fd)
{
    return table != NULL && fd >= 0 && fd < MAX_FDS && table[fd].kind != HANDLE_NONE;
}

int vireo_kvm_dup(int old_fd, int new_fd)
{
    struct handle h = handle_get(old_fd);
    struct handle old = { .kind = HANDLE_NONE };
    int r = h.kind == HANDLE_NONE ? -EBADF : handle_set(new_fd, h, &old);

    if (r < 0) {
        object_unref(h);
        errno = -r;
        return -1;
    }
    object_unref(old);
    return 0;
}

int vireo_kvm_close(int fd)
{
    struct handle old = { .kind = HANDLE_NONE };

    if (!vireo_kvm_owns(fd)) {
        errno = EBADF;
        return -1;
    }
    (void)handle_set(fd, (struct handle) { .kind = HANDLE_NONE }, &old);
    object_unref(old);
    return close(fd);
}

static int dispatch(const struct request *table_of_kind, void *object, unsigned long nr, void *arg)
{
    for (const struct request *q = table_of_kind; q->fn != NULL; q++) {
        if (q->nr == nr) {
            return q->fn(object, arg);
        }
    }
    return -ENOTTY;
}

int vireo_kvm_ioctl(int fd, unsigned long request, void *arg)
{
    static const struct request *const tables[] = {
        [HANDLE_SYSTEM] = system_requests,
        [HANDLE_VM] = vm_requests,
        [HANDLE_VCPU] = vcpu_requests,
    };
    struct handle h = handle_get(fd);
    int r = -EBADF;

    /* Request numbers are 32 bits; a client's int may have been sign-extended. */
    request = (uint32_t)request;
    if (h.kind != HANDLE_NONE && arg == NULL && _IOC_SIZE(request) != 0 &&
        request != KVM_SET_SIGNAL_MASK) {
        /* Whoever takes a structure must be given one; without a signal mask NULL means none. */
        r = -EFAULT;
        object_unref(h);
    } else if (h.kind != HANDLE_NONE) {
        r = dispatch(tables[h.kind], h.object, request, arg);
        object_unref(h);
    }
    if (r < 0) {
        errno = -r;
        return -1;
    }
    return r;
}
