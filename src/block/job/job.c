/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "block/job/job.h"

#include "block/core/ctx.h"
#include "block/job/inside.h"
#include "os/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const char *block_job_status_name(enum block_job_status s)
{
    static const char *const names[] = { "created", "running", "paused",   "ready",
                                         "waiting", "pending", "aborting", "concluded" };

    return names[s];
}

const char *block_job_type_name(enum block_job_type t)
{
    static const char *const names[] = { "commit", "stream", "mirror", "backup" };

    return names[t];
}

/* ---- from the job's thread to the loop ---- */

struct note {
    struct block_job *job;
    enum block_job_event ev;
    enum block_job_status status; /* when it was written */
};

static void on_note(void *arg)
{
    struct note *n = arg;
    struct block_job *job = n->job;

    (void)pthread_mutex_lock(&job->lock);
    job->posted--;
    job->told = n->status;
    (void)pthread_mutex_unlock(&job->lock);
    if (job->spec.event != NULL) {
        job->spec.event(job->spec.arg, job, n->ev);
    }
    free(n);
}

static void note(struct block_job *job, enum block_job_event ev)
{
    struct note *n = malloc(sizeof(*n));

    if (n == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&job->lock);
    *n = (struct note) { .job = job, .ev = ev, .status = job->status };
    job->posted++;
    (void)pthread_mutex_unlock(&job->lock);
    if (loop_post(job->ctx->loop, on_note, n) < 0) {
        (void)pthread_mutex_lock(&job->lock);
        job->posted--;
        (void)pthread_mutex_unlock(&job->lock);
        free(n);
    }
}

static void set_status(struct block_job *job, enum block_job_status status)
{
    bool changed;

    (void)pthread_mutex_lock(&job->lock);
    changed = job->status != status;
    job->status = status;
    (void)pthread_mutex_unlock(&job->lock);
    if (changed) {
        note(job, BLOCK_JOB_EV_STATUS);
    }
}

static void wait_msec(struct block_job *job, uint64_t msec)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_REALTIME, &ts);
    ts.tv_sec += (time_t)(msec / 1000);
    ts.tv_nsec += (long)(msec % 1000) * 1000000;
    if (ts.tv_nsec >= 1000000000) {
        ts.tv_nsec -= 1000000000;
        ts.tv_sec++;
    }
    (void)pthread_cond_timedwait(&job->cond, &job->lock, &ts);
}

int block_job_point(struct block_job *job, uint64_t moved)
{
    enum { SLICE_MSEC = 100 };
    int r;

    (void)pthread_mutex_lock(&job->lock);
    job->slept_for += moved;
    while (!job->force_cancel && job->speed > 0 &&
           job->slept_for >= job->speed * SLICE_MSEC / 1000) {
        uint64_t slice = job->speed * SLICE_MSEC / 1000;

        job->slept_for -= slice > 0 ? slice : job->slept_for;
        wait_msec(job, SLICE_MSEC);
    }
    if (job->speed == 0) {
        job->slept_for = 0;
    }
    while (job->pause_wanted && !job->cancel_wanted) {
        enum block_job_status was = job->status;

        job->status = BLOCK_JOB_PAUSED;
        (void)pthread_mutex_unlock(&job->lock);
        note(job, BLOCK_JOB_EV_STATUS);
        (void)pthread_mutex_lock(&job->lock);
        while (job->pause_wanted && !job->cancel_wanted) {
            (void)pthread_cond_wait(&job->cond, &job->lock);
        }
        job->status = was;
        (void)pthread_mutex_unlock(&job->lock);
        note(job, BLOCK_JOB_EV_STATUS);
        (void)pthread_mutex_lock(&job->lock);
    }
    r = job->cancel_wanted && (job->force_cancel || !job->ready) ? -ECANCELED : 0;
    (void)pthread_mutex_unlock(&job->lock);
    return r;
}

void block_job_progress(struct block_job *job, uint64_t done, uint64_t total)
{
    (void)pthread_mutex_lock(&job->lock);
    job->done = done;
    job->total = total;
    (void)pthread_mutex_unlock(&job->lock);
}

void block_job_set_ready(struct block_job *job)
{
    bool was;

    (void)pthread_mutex_lock(&job->lock);
    was = job->ready;
    job->ready = true;
    (void)pthread_mutex_unlock(&job->lock);
    if (!was) {
        set_status(job, BLOCK_JOB_READY);
        note(job, BLOCK_JOB_EV_READY);
    }
}

bool block_job_wants_end(struct block_job *job)
{
    enum { LOOK_MSEC = 50 };
    bool end;

    (void)pthread_mutex_lock(&job->lock);
    if (!job->complete_wanted && !job->cancel_wanted) {
        wait_msec(job, LOOK_MSEC);
    }
    end = job->complete_wanted || job->cancel_wanted;
    (void)pthread_mutex_unlock(&job->lock);
    return end;
}

int block_job_error(struct block_job *job, int error)
{
    switch (job->spec.on_error) {
    case BLOCK_ON_ERROR_IGNORE:
        note(job, BLOCK_JOB_EV_ERROR);
        return 1;
    case BLOCK_ON_ERROR_STOP:
        note(job, BLOCK_JOB_EV_ERROR);
        (void)pthread_mutex_lock(&job->lock);
        job->pause_wanted = true;
        (void)pthread_mutex_unlock(&job->lock);
        return block_job_point(job, 0);
    default:
        return error;
    }
}

/* ---- the end, on the loop's thread ---- */

static void conclude(struct block_job *job)
{
    bool cancelled = job->result == -ECANCELED;

    job->ops->clean(job, job->result == 0);
    set_status(job, BLOCK_JOB_CONCLUDED);
    note(job, cancelled ? BLOCK_JOB_EV_CANCELLED : BLOCK_JOB_EV_COMPLETED);
}

static void finish(struct block_job *job)
{
    if (job->result == 0 && job->ops->finish != NULL && !(job->cancel_wanted && job->ready)) {
        struct err *err = NULL;

        block_drain(job->ctx, NULL);
        job->result = job->ops->finish(job, &err);
        if (job->result < 0 && job->err == NULL) {
            job->err = err;
        } else {
            (void)err_free(err);
        }
    }
    if (job->result < 0) {
        set_status(job, BLOCK_JOB_ABORTING);
    }
    conclude(job);
}

static void on_work_done(void *arg)
{
    struct block_job *job = arg;

    (void)pthread_mutex_lock(&job->lock);
    job->posted--;
    (void)pthread_mutex_unlock(&job->lock);
    if (job->has_thread) {
        (void)pthread_join(job->thread, NULL);
        job->has_thread = false;
    }
    if (job->result == 0) {
        set_status(job, BLOCK_JOB_WAITING);
        set_status(job, BLOCK_JOB_PENDING);
        if (job->spec.manual_finalize) {
            note(job, BLOCK_JOB_EV_PENDING);
            return;
        }
    }
    finish(job);
}

static void *job_main(void *arg)
{
    struct block_job *job = arg;

    job->thread = pthread_self(); /* the work may ask before pthread_create() has returned */
    job->has_thread = true;
    set_status(job, BLOCK_JOB_RUNNING);
    job->result = job->ops->run(job, &job->err);
    (void)pthread_mutex_lock(&job->lock);
    job->posted++;
    (void)pthread_mutex_unlock(&job->lock);
    (void)!loop_post(job->ctx->loop, on_work_done, job);
    return NULL;
}

/* ---- the calls ---- */

static int check_spec(const struct block_job_spec *s, struct err **err)
{
    if (s->type == BLOCK_JOB_COMMIT && s->base == NULL) {
        return err_set(err, EINVAL, "There is no backing image to commit into");
    }
    if ((s->type == BLOCK_JOB_MIRROR || s->type == BLOCK_JOB_BACKUP) && s->target == NULL) {
        return err_set(err, EINVAL, "The job needs a target");
    }
    if (s->target != NULL && s->target == s->node) {
        return err_set(err, EINVAL, "Source and target cannot be the same");
    }
    if (s->sync == BLOCK_SYNC_BITMAP && s->bitmap == NULL) {
        return err_set(err, EINVAL, "must provide a valid bitmap name for this sync mode");
    }
    if (s->type == BLOCK_JOB_STREAM && s->node->read_only) {
        return err_set(err, EROFS, "The image to stream into is read-only");
    }
    return 0;
}

static struct block_node *ref(struct block_node *node)
{
    return node != NULL ? block_ref(node) : NULL;
}

int block_job_start(struct block_ctx *ctx, const struct block_job_spec *spec,
                    struct block_job **ret, struct err **err)
{
    static const struct block_job_ops *const ops[] = { &block_job_commit_ops, &block_job_stream_ops,
                                                       &block_job_mirror_ops,
                                                       &block_job_backup_ops };
    struct block_job *job;
    int r = check_spec(spec, err);

    if (r < 0) {
        return r;
    }
    job = calloc(1, sizeof(*job));
    if (job == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    job->spec = *spec;
    job->ctx = ctx;
    job->ops = ops[spec->type];
    job->speed = spec->speed;
    job->id = strdup(spec->id != NULL ? spec->id : "");
    job->backing_file = spec->backing_file != NULL ? strdup(spec->backing_file) : NULL;
    job->spec.node = ref(spec->node);
    job->spec.top = ref(spec->top);
    job->spec.base = ref(spec->base);
    job->spec.target = ref(spec->target);
    (void)pthread_mutex_init(&job->lock, NULL);
    (void)pthread_cond_init(&job->cond, NULL);
    block_drain(ctx, spec->node);
    r = job->id != NULL ? job->ops->begin(job, err) : -ENOMEM;
    if (r == 0) {
        int e = pthread_create(&job->thread, NULL, job_main, job);

        r = e == 0 ? 0 : err_set(err, e, "cannot start a thread: %s", strerror(e));
        job->has_thread = e == 0;
        if (e != 0) {
            job->ops->clean(job, false);
        }
    }
    if (r < 0) {
        (void)block_job_free(job);
        return r;
    }
    *ret = job;
    return 0;
}

void block_job_query(struct block_job *job, struct block_job_info *ret)
{
    (void)pthread_mutex_lock(&job->lock);
    *ret = (struct block_job_info) { .id = job->id,
                                     .type = job->spec.type,
                                     .status = job->status,
                                     .told = job->told,
                                     .done = job->done,
                                     .total = job->total,
                                     .speed = job->speed,
                                     .busy = job->status == BLOCK_JOB_RUNNING,
                                     .paused = job->pause_wanted,
                                     .ready = job->ready,
                                     .cancelled = job->cancel_wanted,
                                     .error = job->status < BLOCK_JOB_ABORTING || job->result == 0
                                                  ? NULL
                                              : job->err != NULL ? job->err->text
                                                                 : strerror(-job->result) };
    (void)pthread_mutex_unlock(&job->lock);
}

static int change(struct block_job *job, bool *what, bool value, struct err **err)
{
    int r = 0;

    (void)pthread_mutex_lock(&job->lock);
    if (job->status >= BLOCK_JOB_WAITING) {
        r = -EBUSY;
    } else {
        *what = value;
    }
    (void)pthread_cond_broadcast(&job->cond);
    (void)pthread_mutex_unlock(&job->lock);
    return r < 0 ? err_set(err, EBUSY, "Job '%s' in state '%s' cannot accept this command", job->id,
                           block_job_status_name(job->status))
                 : 0;
}

int block_job_pause(struct block_job *job, struct err **err)
{
    return change(job, &job->pause_wanted, true, err);
}

int block_job_resume(struct block_job *job, struct err **err)
{
    return change(job, &job->pause_wanted, false, err);
}

int block_job_set_speed(struct block_job *job, uint64_t speed, struct err **err)
{
    (void)err;
    (void)pthread_mutex_lock(&job->lock);
    job->speed = speed;
    (void)pthread_cond_broadcast(&job->cond);
    (void)pthread_mutex_unlock(&job->lock);
    return 0;
}

int block_job_cancel(struct block_job *job, bool force, struct err **err)
{
    if (job->status == BLOCK_JOB_PENDING) {
        job->result = -ECANCELED;
        finish(job);
        return 0;
    }
    job->force_cancel |= force;
    return change(job, &job->cancel_wanted, true, err);
}

int block_job_complete(struct block_job *job, struct err **err)
{
    if (!job->ready) {
        return err_set(err, EBUSY, "The active block job '%s' cannot be completed", job->id);
    }
    return change(job, &job->complete_wanted, true, err);
}

int block_job_finalize(struct block_job *job, struct err **err)
{
    if (job->status != BLOCK_JOB_PENDING) {
        return err_set(err, EBUSY, "Job '%s' in state '%s' cannot accept command verb 'finalize'",
                       job->id, block_job_status_name(job->status));
    }
    finish(job);
    return 0;
}

struct block_job *block_job_free(struct block_job *job)
{
    if (job == NULL) {
        return NULL;
    }
    if (job->has_thread || job->posted > 0) {
        (void)pthread_mutex_lock(&job->lock);
        job->cancel_wanted = job->force_cancel = true;
        (void)pthread_cond_broadcast(&job->cond);
        (void)pthread_mutex_unlock(&job->lock);
        job->spec.event = NULL;
        while (job->has_thread || job->posted > 0) {
            (void)loop_step(job->ctx->loop, 10000);
        }
    }
    (void)block_unref(job->spec.node);
    (void)block_unref(job->spec.top);
    (void)block_unref(job->spec.base);
    (void)block_unref(job->spec.target);
    (void)pthread_mutex_destroy(&job->lock);
    (void)pthread_cond_destroy(&job->cond);
    (void)err_free(job->err);
    free(job->copied);
    free(job->copying);
    free(job->id);
    free(job->backing_file);
    free(job);
    return NULL;
}
