/* SPDX-License-Identifier: MIT */
/* Latencies: 0.1 µs wide up to 10 ms, 100 µs wide up to 10 s. Printed as [[percentile, µs], ...]. */
#ifndef L7_HISTOGRAM_H
#define L7_HISTOGRAM_H

#include "load.h"

#define FINE 100000
#define COARSE 100000
#define FINE_NS 100
#define COARSE_NS 100000

struct histogram {
	uint64_t count;
	uint64_t fine[FINE];
	uint64_t coarse[COARSE];
};

static inline void record(struct histogram *histogram, uint64_t ns)
{
	histogram->count++;
	if (ns < (uint64_t)FINE * FINE_NS)
		histogram->fine[ns / FINE_NS]++;
	else
		histogram->coarse[ns / COARSE_NS < COARSE ? ns / COARSE_NS : COARSE - 1]++;
}

/* The middle of the slot that the value with this rank lies in. */
static inline double percentile_us(const struct histogram *histogram, double percent)
{
	uint64_t before = 0, rank = (uint64_t)((double)histogram->count * percent / 100);

	if (rank >= histogram->count)
		rank = histogram->count - 1;
	for (uint64_t i = 0; i < FINE; i++) {
		before += histogram->fine[i];
		if (before > rank)
			return ((double)i + 0.5) * FINE_NS / 1000;
	}
	for (uint64_t i = 0; i < COARSE; i++) {
		before += histogram->coarse[i];
		if (before > rank)
			return ((double)i + 0.5) * COARSE_NS / 1000;
	}
	return 0;
}

static inline void print_histogram(const char *name, const struct histogram *histogram)
{
	static const double percents[] = { 0, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.99, 100 };

	printf("\"%s\":[", name);
	for (size_t i = 0; histogram->count && i < sizeof(percents) / sizeof(*percents); i++)
		printf("%s[%g,%.2f]", i ? "," : "", percents[i], percentile_us(histogram, percents[i]));
	printf("]");
}

#endif
