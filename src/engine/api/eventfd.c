/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * eventfd.c - irqfds (an eventfd raises a GSI) and ioeventfds (a guest write signals an eventfd)
 * (KVM api.rst, KVM_IRQFD, KVM_IOEVENTFD).
 */
#include "base/bytes.h"
#include "engine/irqchip/irqchip.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

struct irqfd {
    struct list link;
    struct vm *vm;
    unsigned gsi;
    int client_fd;   /* as named by the client, to find it again */
    int fd;          /* our own descriptor of it */
    int resample_fd; /* -1: an edge each time */
    struct io_watch *watch;
};

struct ioeventfd {
    struct list link;
    uint64_t addr;
    uint64_t match;
    uint32_t len; /* 0: any */
    bool pio;
    bool data_match;
    int client_fd;
    int fd;
};

enum { MAX_IOEVENTFDS = 4096, MAX_IRQFDS = 4096 };

static int own_fd(int fd)
{
    return fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

static void signal_fd(int fd)
{
    uint64_t one = 1;

    (void)!write(fd, &one, sizeof(one));
}

static void raise_irq(void *arg)
{
    struct irqfd *i = arg;

    if (i->resample_fd < 0) {
        irqchip_pulse_gsi(i->vm, i->gsi);
    } else {
        (void)irqchip_set_gsi(i->vm, i->gsi, IRQ_SOURCE_IRQFD, true);
    }
}

void vm_irqfd_resample(struct vm *vm, unsigned gsi)
{
    bool any = false;

    /* The list is changed only under irq_lock as well, which the caller holds. */
    LIST_FOREACH (&vm->irqfds, it) {
        struct irqfd *i = CONTAINER_OF(it, struct irqfd, link);

        if (i->gsi == gsi && i->resample_fd >= 0) {
            if (!any) {
                (void)irqchip_set_gsi_locked(vm, gsi, IRQ_SOURCE_IRQFD, false);
            }
            any = true;
            signal_fd(i->resample_fd);
        }
    }
}

static void irqfd_free(struct irqfd *i)
{
    (void)io_watch_free(i->watch);
    if (i->fd >= 0) {
        (void)close(i->fd);
    }
    if (i->resample_fd >= 0) {
        (void)close(i->resample_fd);
    }
    free(i);
}

static int irqfd_add(struct vm *vm, const struct kvm_irqfd *arg)
{
    bool resample = (arg->flags & KVM_IRQFD_FLAG_RESAMPLE) != 0;
    struct irqfd *i = calloc(1, sizeof(*i));
    int r = 0;

    if (i == NULL) {
        return -ENOMEM;
    }
    *i = (struct irqfd) { .vm = vm, .gsi = arg->gsi, .client_fd = (int)arg->fd, .resample_fd = -1 };
    i->fd = own_fd((int)arg->fd);
    if (i->fd < 0 || (resample && (i->resample_fd = own_fd((int)arg->resamplefd)) < 0)) {
        r = -EBADF;
    } else {
        (void)pthread_mutex_lock(&vm->irq_lock);
        list_append(&vm->irqfds, &i->link);
        (void)pthread_mutex_unlock(&vm->irq_lock);
        i->watch = io_watch_new(vm->io, i->fd, raise_irq, i);
        if (i->watch == NULL) {
            (void)pthread_mutex_lock(&vm->irq_lock);
            list_remove(&i->link);
            (void)pthread_mutex_unlock(&vm->irq_lock);
            r = -EBADF;
        }
    }
    if (r < 0) {
        irqfd_free(i);
    }
    return r;
}

static int irqfd_remove(struct vm *vm, const struct kvm_irqfd *arg)
{
    struct irqfd *found = NULL;

    (void)pthread_mutex_lock(&vm->irq_lock);
    LIST_FOREACH (&vm->irqfds, it) {
        struct irqfd *i = CONTAINER_OF(it, struct irqfd, link);

        if (i->client_fd == (int)arg->fd && i->gsi == arg->gsi) {
            found = i;
            break;
        }
    }
    if (found != NULL) {
        list_remove(&found->link);
    }
    (void)pthread_mutex_unlock(&vm->irq_lock);
    if (found != NULL) {
        irqfd_free(found);
    }
    return 0; /* KVM is as lenient with one that is not there */
}

int vm_irqfd(void *object, void *arg)
{
    struct vm *vm = object;
    struct kvm_irqfd in;

    memcpy(&in, arg, sizeof(in));
    if ((in.flags & ~(uint32_t)(KVM_IRQFD_FLAG_DEASSIGN | KVM_IRQFD_FLAG_RESAMPLE)) != 0 ||
        vm->irqchip == NULL || in.gsi >= GSI_COUNT) {
        return -EINVAL;
    }
    return (in.flags & KVM_IRQFD_FLAG_DEASSIGN) != 0 ? irqfd_remove(vm, &in) : irqfd_add(vm, &in);
}

/* ---- ioeventfds ---- */

static bool same_place(const struct ioeventfd *e, const struct kvm_ioeventfd *arg)
{
    bool data_match = (arg->flags & KVM_IOEVENTFD_FLAG_DATAMATCH) != 0;

    return e->addr == arg->addr && e->len == arg->len &&
           e->pio == ((arg->flags & KVM_IOEVENTFD_FLAG_PIO) != 0) && e->data_match == data_match &&
           (!data_match || e->match == arg->datamatch);
}

static void ioeventfd_free(struct ioeventfd *e)
{
    list_remove(&e->link);
    (void)close(e->fd);
    free(e);
}

static int ioeventfd_add(struct vm *vm, const struct kvm_ioeventfd *arg)
{
    struct ioeventfd *e;

    LIST_FOREACH (&vm->ioeventfds, it) {
        if (same_place(CONTAINER_OF(it, struct ioeventfd, link), arg)) {
            return -EEXIST;
        }
    }
    e = calloc(1, sizeof(*e));
    if (e == NULL) {
        return -ENOMEM;
    }
    *e = (struct ioeventfd) { .addr = arg->addr,
                              .len = arg->len,
                              .match = arg->datamatch,
                              .pio = (arg->flags & KVM_IOEVENTFD_FLAG_PIO) != 0,
                              .data_match = (arg->flags & KVM_IOEVENTFD_FLAG_DATAMATCH) != 0,
                              .client_fd = arg->fd,
                              .fd = own_fd(arg->fd) };
    if (e->fd < 0) {
        free(e);
        return -EBADF;
    }
    list_append(&vm->ioeventfds, &e->link);
    return 0;
}

static int ioeventfd_remove(struct vm *vm, const struct kvm_ioeventfd *arg)
{
    LIST_FOREACH (&vm->ioeventfds, it) {
        struct ioeventfd *e = CONTAINER_OF(it, struct ioeventfd, link);

        if (e->client_fd == arg->fd && same_place(e, arg)) {
            ioeventfd_free(e);
            return 0;
        }
    }
    return -ENOENT;
}

int vm_ioeventfd(void *object, void *arg)
{
    struct vm *vm = object;
    struct kvm_ioeventfd in;
    int r;

    memcpy(&in, arg, sizeof(in));
    if ((in.flags & ~(uint32_t)(KVM_IOEVENTFD_FLAG_PIO | KVM_IOEVENTFD_FLAG_DATAMATCH |
                                KVM_IOEVENTFD_FLAG_DEASSIGN)) != 0 ||
        (in.len != 0 && in.len != 1 && in.len != 2 && in.len != 4 && in.len != 8) ||
        in.addr + in.len < in.addr ||
        (in.len == 0 && (in.flags & KVM_IOEVENTFD_FLAG_DATAMATCH) != 0)) {
        return -EINVAL;
    }
    (void)pthread_mutex_lock(&vm->eventfd_lock);
    r = (in.flags & KVM_IOEVENTFD_FLAG_DEASSIGN) != 0 ? ioeventfd_remove(vm, &in)
                                                      : ioeventfd_add(vm, &in);
    (void)pthread_mutex_unlock(&vm->eventfd_lock);
    return r;
}

bool vm_ioeventfd_signal(struct vm *vm, uint64_t addr, const uint8_t *data, unsigned len, bool pio)
{
    uint8_t word[8] = { 0 };
    bool hit = false;

    if (len > sizeof(word)) {
        return false;
    }
    memcpy(word, data, len);
    (void)pthread_mutex_lock(&vm->eventfd_lock);
    LIST_FOREACH (&vm->ioeventfds, it) {
        const struct ioeventfd *e = CONTAINER_OF(it, struct ioeventfd, link);

        if (e->addr == addr && e->pio == pio && (e->len == 0 || e->len == len) &&
            (!e->data_match || e->match == le64_get(word))) {
            signal_fd(e->fd);
            hit = true;
            break;
        }
    }
    (void)pthread_mutex_unlock(&vm->eventfd_lock);
    return hit;
}

void vm_free_eventfds(struct vm *vm)
{
    LIST_FOREACH_SAFE (&vm->irqfds, it) {
        list_remove(it);
        irqfd_free(CONTAINER_OF(it, struct irqfd, link));
    }
    LIST_FOREACH_SAFE (&vm->ioeventfds, it) {
        ioeventfd_free(CONTAINER_OF(it, struct ioeventfd, link));
    }
}
