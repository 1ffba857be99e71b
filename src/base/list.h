/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * list.h - a circular doubly linked list whose links live inside the elements.
 *
 * A struct list is both the head and an element's link. An initialised head
 * points to itself; an element that is on no list must not be removed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next;
    struct list *prev;
};

#define LIST_INIT(name)                  \
    {                                    \
        .next = &(name), .prev = &(name) \
    }

/* The struct that holds the link. */
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#define LIST_FOREACH(head, it) for (struct list *it = (head)->next; it != (head); it = it->next)

/* The body may remove and free the element. */
#define LIST_FOREACH_SAFE(head, it)                                           \
    for (struct list *it = (head)->next, *it##_next = it->next; it != (head); \
         it = it##_next, it##_next = it->next)

static inline void list_init(struct list *head)
{
    head->next = head;
    head->prev = head;
}

static inline bool list_empty(const struct list *head)
{
    return head->next == head;
}

static inline void list_insert_before(struct list *at, struct list *item)
{
    item->prev = at->prev;
    item->next = at;
    at->prev->next = item;
    at->prev = item;
}

static inline void list_append(struct list *head, struct list *item)
{
    list_insert_before(head, item);
}

static inline void list_prepend(struct list *head, struct list *item)
{
    list_insert_before(head->next, item);
}

/* Leaves the element as a list of its own, so that removing it twice is harmless. */
static inline void list_remove(struct list *item)
{
    item->prev->next = item->next;
    item->next->prev = item->prev;
    list_init(item);
}
