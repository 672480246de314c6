/* On which side of the threshold the pixels near the outline are: they alone are evaluated. */

#include "mask.h"

enum { DENSE = 16 };                /* pixels between two samples: where there are more, most are certain */
enum { TILE = 32 };                 /* strips that are computed in full together, or along outlines */
enum { CROWDED = 25 };              /* percent of uncertain cells from which on all pixels at once cost less */

typedef struct {
    const Mask *mask;
    const Strips *rows, *columns;
    float threshold, below, above;
    float *sides;      /* ONCE, TWICE: [columns, window's height] of values along rows; PASTED: [rows] of values */
    float *enlarged;   /* TWICE: [columns, enlarged rows] */
    float *along;      /* TWICE: [samples' columns, enlarged rows] */
    int64_t tall;      /* TWICE: enlarged rows, */
    int64_t *near, *far;  /* and which samples of a column they are made of */
    uint8_t *inside;   /* [window's height] */
} Work;

static int enlarged_rows(Work *work) {
    const Mask *mask = work->mask;
    int64_t top = mask->rows.near[mask->window[1]];
    work->tall = mask->rows.far[mask->window[3] - 1] + 1 - top;
    work->enlarged = malloc((size_t)(work->columns->enlarged * work->tall) * sizeof(float));
    work->along = malloc((size_t)((work->columns->reach + 1) * work->tall) * sizeof(float));
    work->near = fresh(work->tall, sizeof *work->near), work->far = fresh(work->tall, sizeof *work->far);
    for (int64_t y = 0; y < work->tall && work->near && work->far; y++) {
        work->near[y] = clamp(mask->first_rows.near[top + y] - mask->top, mask->height - 1) * mask->stride;
        work->far[y] = clamp(mask->first_rows.far[top + y] - mask->top, mask->height - 1) * mask->stride;
    }
    return work->near && work->far && work->enlarged && work->along;
}

static void enlarge(Work *work, const Stretch *stretch, int64_t strip) {
    const Mask *mask = work->mask;
    const Line *rows = &mask->first_rows, *columns = &mask->first_columns;
    int64_t begin = work->rows->start[stretch->from], end = work->rows->start[stretch->to];
    int64_t top = mask->rows.near[begin], bottom = mask->rows.far[end - 1] + 1;
    int64_t origin = mask->rows.near[mask->window[1]];
    int64_t left = mask->columns.near[work->columns->start[strip]];
    int64_t right = mask->columns.far[work->columns->start[strip + 1] - 1] + 1, base = work->columns->base + strip;
    for (int64_t i = 0; i <= work->columns->reach; i++) {
        const float *column = mask->samples + clamp(base + i, mask->width - 1);
        float *along = work->along + i * work->tall - origin;
        for (int64_t y = top; y < bottom; y++) {
            float near = column[work->near[y - origin]], far = column[work->far[y - origin]];
            along[y] = (far - near) * rows->weight[y] + near;
        }
    }
    int64_t crop_top = clamp(mask->crop[1] - top, bottom - top) + top;
    int64_t crop_bottom = clamp(mask->crop[3] - top, bottom - top) + top;
    for (int64_t x = left; x < right; x++) {
        float *restrict result = work->enlarged + (x - left) * work->tall - origin;
        if (x < mask->crop[0] || x >= mask->crop[2] || crop_top >= crop_bottom) {
            for (int64_t y = top; y < bottom; y++) result[y] = 0;
            continue;
        }
        int64_t near = clamp(columns->near[x] - mask->left, mask->width - 1) - base;
        int64_t far = clamp(columns->far[x] - mask->left, mask->width - 1) - base;
        const float *a = work->along + near * work->tall - origin, *b = work->along + far * work->tall - origin;
        float weight = columns->weight[x];
        for (int64_t y = top; y < crop_top; y++) result[y] = 0;
        for (int64_t y = crop_top; y < crop_bottom; y++) result[y] = (b[y] - a[y]) * weight + a[y];
        for (int64_t y = crop_bottom; y < bottom; y++) result[y] = 0;
    }
}

/* Interpolate along rows what the columns of a strip lie between, in a stretch of rows. */
static void prepare(Work *work, const Stretch *stretch, int64_t strip) {
    const Mask *mask = work->mask;
    const Line *rows = &mask->rows;
    int64_t begin = work->rows->start[stretch->from], end = work->rows->start[stretch->to], origin = mask->window[1];
    int64_t height = mask->window[3] - origin;
    int64_t left = mask->columns.near[work->columns->start[strip]];
    int64_t right = mask->columns.far[work->columns->start[strip + 1] - 1] + 1;
    int64_t shift = 0, stride = mask->stride, step = 1;
    const float *samples = mask->samples + left;
    if (mask->kind == TWICE) {
        enlarge(work, stretch, strip);
        samples = work->enlarged, stride = 1, step = work->tall, shift = rows->near[origin];
    }
    for (int64_t x = 0; x < right - left; x++) {
        const float *column = samples + x * step - shift * stride;
        float *restrict result = work->sides + x * height - origin;
        for (int64_t y = begin; y < end; y++) {
            float near = column[rows->near[y] * stride], far = column[rows->far[y] * stride];
            result[y] = (far - near) * rows->weight[y] + near;
        }
    }
}

/* A column's values from one row to another. */
typedef struct {
    const float *near, *far;   /* sides, by row; PASTED: of samples, by sample */
    float weight;
} Column;

static float value(const Work *work, const Column *column, int64_t y) {
    const Line *rows = &work->mask->rows;
    if (work->mask->kind != PASTED) return (column->far[y] - column->near[y]) * column->weight + column->near[y];
    return column->near[rows->near[y]] * (1 - rows->weight[y]) + column->near[rows->far[y]] * rows->weight[y];
}

static void dense(Work *work, Changes *changes, const Column *column, int64_t begin, int64_t end) {
    uint8_t *restrict inside = work->inside;
    const float threshold = work->threshold, weight = column->weight;
    int64_t count = end - begin;
    if (work->mask->kind == PASTED) {
        const Line *rows = &work->mask->rows;
        for (int64_t i = 0; i < count; i++) {
            float down = rows->weight[begin + i];
            float upper = column->near[rows->near[begin + i]], lower = column->near[rows->far[begin + i]];
            inside[i] = upper * (1 - down) + lower * down > threshold;
        }
    } else {
        const float *restrict near = column->near + begin, *restrict far = column->far + begin;
        for (int64_t i = 0; i < count; i++) inside[i] = (far[i] - near[i]) * weight + near[i] > threshold;
    }
    scan(changes, begin, inside, count);
}

/* Pixels between the same samples: along them values are a straight line but for rounding, so that between two that
   are certain all are. `ends` are the values of the first and the last one. */
static void straight(Work *work, Changes *changes, const Column *column, int64_t begin, int64_t end,
                     const float ends[2]) {
    uint8_t side[2] = {code(ends[0], work->below, work->above), code(ends[1], work->below, work->above)};
    if (side[0] & side[1]) { change(changes, begin, side[0] == IN); return; }
    if (side[0] && side[1] && end - begin > DENSE / 2) {  /* a line crosses once: look where it should */
        float place = (work->threshold - ends[0]) / (ends[1] - ends[0]);
        int64_t guess = begin + (place >= 0 && place <= 1 ? (int64_t)(place * (float)(end - 1 - begin)) : 0);
        int64_t from = guess - 1 > begin ? guess - 1 : begin, to = guess + 2 < end - 1 ? guess + 2 : end - 1;
        if (code(value(work, column, from), work->below, work->above) == side[0]
            && code(value(work, column, to), work->below, work->above) == side[1]) {
            change(changes, begin, side[0] == IN);
            while (++from < to) change(changes, from, value(work, column, from) > work->threshold);
            change(changes, to, side[1] == IN);
            return;
        }
    }
    dense(work, changes, column, begin, end);
}

static void stretch_of(Work *work, Changes *changes, const Column *column, const Stretch *stretch) {
    const int64_t *start = work->rows->start;
    int64_t pixels = start[stretch->to] - start[stretch->from];
    if (work->mask->kind == TWICE || pixels <= DENSE * (stretch->to - stretch->from) / 2) {
        dense(work, changes, column, start[stretch->from], start[stretch->to]);
        return;
    }
    for (int64_t y = stretch->from; y < stretch->to; y++) {
        int64_t begin = start[y], end = start[y + 1];
        /* at the grid's border one strip has pixels between the same sample and the same two: not one line */
        int even = begin < end && work->mask->rows.far[begin] == work->mask->rows.far[end - 1];
        if (!even) { dense(work, changes, column, begin, end); continue; }
        float ends[2] = {value(work, column, begin), value(work, column, end - 1)};
        straight(work, changes, column, begin, end, ends);
    }
}

static void strip_of(Work *work, Changes *changes, const uint8_t *cells, int64_t strip, const Stretch *some,
                     int64_t count) {
    const Mask *mask = work->mask;
    const int64_t *window = mask->window, *start = work->rows->start;
    int64_t height = window[3] - window[1], wide = work->columns->count, rows = work->rows->count;
    int64_t left = mask->columns.near[work->columns->start[strip]];
    if (mask->kind != PASTED) for (int64_t i = 0; i < count; i++) prepare(work, some + i, strip);
    for (int64_t x = work->columns->start[strip]; x < work->columns->start[strip + 1]; x++) {
        const float *sides = work->sides - window[1];
        int64_t near = mask->columns.near[x], far = mask->columns.far[x];
        Column column = {sides + (near - left) * height, sides + (far - left) * height, mask->columns.weight[x]};
        changes->base = (x - window[0]) * height - window[1];
        reserve(changes, height + 2);
        if (changes->failed) return;
        int64_t done = 0;
        for (int64_t i = 0; i < count; i++) {
            int64_t between = done;
            while (between < some[i].from && start[between] == start[between + 1]) between++;
            if (between < some[i].from) change(changes, start[between], cells[between * wide + strip] == IN);
            if (mask->kind == PASTED) {
                float weight = column.weight, *result = work->sides;
                int64_t last = mask->rows.far[start[some[i].to] - 1];
                for (int64_t y = mask->rows.near[start[some[i].from]]; y <= last; y++) {
                    const float *line = mask->samples + y * mask->stride;
                    result[y] = line[near] * (1 - weight) + line[far] * weight;
                }
                column.near = result;
            }
            stretch_of(work, changes, &column, some + i);
            done = some[i].to;
        }
        while (done < rows && start[done] == start[done + 1]) done++;
        if (done < rows) change(changes, start[done], cells[done * wide + strip] == IN);
    }
}

/* Whether the pixels of some strips cost less all at once than those near the outline alone, which are slower. */
static int is_crowded(const Work *work, const uint8_t *cells, int64_t from, int64_t to) {
    int64_t uncertain = 0, rows = work->rows->count, pixels = work->mask->window[3] - work->mask->window[1];
    if (work->mask->kind == PASTED || pixels > DENSE * rows / 2) return 0;
    for (int64_t y = 0; y < rows; y++)
        for (int64_t x = from; x < to; x++) uncertain += cells[y * work->columns->count + x] == 0;
    return 100 * uncertain > CROWDED * rows * (to - from);
}

static void mark(uint8_t *cells, const Strips *rows, const Strips *columns, int64_t from, int64_t to, int value) {
    for (int64_t y = 0; y < rows->count; y++) memset(cells + y * columns->count + from, value, (size_t)(to - from));
}

static int64_t next(const Strips *columns, int64_t strip) {
    return strip + TILE < columns->count ? strip + TILE : columns->count;
}

/* Let the samples be probabilities of the sums: those that pixels near the outline depend on, and all of tiles. */
static int read_probabilities(Mask *mask, const float *sums, float **values, const uint8_t *cells, const Work *work) {
    *values = malloc((size_t)(mask->height * mask->width) * sizeof(float));
    if (*values == NULL) return 0;
    probabilities_of(*values, sums, mask, cells, work->rows, work->columns);
    mask->samples = *values, mask->stride = mask->width;
    return 1;
}

/* Return what is certain of each cell, nothing in the tiles that are `crowded`; NULL where memory is short. */
static uint8_t *certain_cells(Work *work, const Mask *mask, const float *sums, uint8_t *crowded) {
    Mask summed = *mask;
    double margin = ROUNDING;
    if (sums) summed.samples = sums, summed.stride = mask->width;
    else margin *= magnitude(mask, work->rows, work->columns);
    work->below = (float)(mask->threshold - margin), work->above = (float)(mask->threshold + margin);
    const float bounds[2] = {work->below, work->above};
    uint8_t *cells = cells_of(&summed, work->rows, work->columns, sums ? mask->bounds : bounds, bounds);
    for (int64_t i = 0; i < work->columns->count && cells; i = next(work->columns, i)) {
        crowded[i / TILE] = (uint8_t)is_crowded(work, cells, i, next(work->columns, i));
        if (crowded[i / TILE]) mark(cells, work->rows, work->columns, i, next(work->columns, i), UNSURE);
    }
    return cells;
}

static int allocate(Work *work) {
    const Mask *mask = work->mask;
    int64_t height = mask->window[3] - mask->window[1];
    int64_t wide = mask->kind == TWICE ? work->columns->enlarged : work->columns->reach + 1;
    work->sides = malloc((size_t)(mask->kind == PASTED ? mask->height : wide * height) * sizeof(float));
    work->inside = fresh(height, 1);
    return work->sides && work->inside && (mask->kind != TWICE || enlarged_rows(work));
}

void paint(const Mask *given, Changes *changes) {
    int64_t *first = NULL;
    Mask mask = *given;
    Strips rows = {0}, columns = {0};
    Work work = {.mask = &mask, .rows = &rows, .columns = &columns, .threshold = (float)mask.threshold};
    uint8_t *cells = NULL, *crowded = NULL;
    float *sums = mask.sums, *values = NULL;
    Stretch *some = NULL;
    changes->failed = !strips_of(&rows, &mask, 1) || !strips_of(&columns, &mask, 0);
    if (!changes->failed) {
        crowded = fresh(columns.count / TILE + 1, 1);
        cells = crowded ? certain_cells(&work, &mask, sums, crowded) : NULL;
        changes->failed = !cells || (sums && !read_probabilities(&mask, sums, &values, cells, &work));
    }
    if (!changes->failed) {
        for (int64_t i = 0; i < columns.count; i = next(&columns, i))
            if (crowded[i / TILE]) mark(cells, &rows, &columns, i, next(&columns, i), IN);  /* no stretches there */
        first = fresh(columns.count + 1, sizeof *first);
        some = first ? stretches_of(cells, &rows, &columns, first) : NULL;
        changes->failed = !some || !allocate(&work);
    }
    for (int64_t i = 0, end; i < columns.count && !changes->failed; i = end) {
        end = next(&columns, i);
        if (crowded[i / TILE] && columns.start[i] < columns.start[end])
            tile_of(&mask, changes, columns.start[i], columns.start[end]);
        for (int64_t strip = i; strip < end && !crowded[i / TILE] && !changes->failed; strip++)
            strip_of(&work, changes, cells, strip, some + first[strip], first[strip + 1] - first[strip]);
    }
    free(rows.start), free(rows.cut), free(columns.start), free(columns.cut), free(values);
    free(cells), free(some), free(first), free(crowded);
    free(work.sides), free(work.inside), free(work.enlarged), free(work.along), free(work.near), free(work.far);
}
