# Makes the data and the figures of this folder: Rscript make.R (in this folder).
# R 4.2.2, lavaan 0.6-14, psych 2.2.9, psychTools 2.2.9.
suppressMessages({library(lavaan); library(psych); library(psychTools); library(jsonlite)})
set.seed(20240501)

# 1. Public data: the first 400 rows of psychTools::bfi, 25 items of six points (some blank), gender, education and age.
bfi_part <- bfi[1:400, ]
write.csv(bfi_part, "bfi.csv", row.names = FALSE, na = "")

# 2. Simulated to look like ratings of a relationship: strong ceiling, unequal numbers of categories, blanks,
#    two measured variables, one row blank throughout.
n <- 500
f <- matrix(rnorm(n * 2), n); f[, 2] <- .5 * f[, 1] + sqrt(.75) * f[, 2]
latent <- function(factor, loading) loading * f[, factor] + sqrt(1 - loading^2) * rnorm(n)
cut_at <- function(x, at) findInterval(x, at) + 1
skewed <- data.frame(
  five1 = cut_at(latent(1, .8), c(-2.2, -1.6, -.9, -.1)),
  five2 = cut_at(latent(1, .7), c(-2.4, -1.8, -1.1, -.4)),
  three = cut_at(latent(1, .6), c(-1.5, -.3)) + 4,
  two1 = cut_at(latent(2, .7), -.9) - 1,
  two2 = cut_at(latent(2, .8), -1.3) - 1,
  seven = cut_at(-latent(2, .75), c(-1.8, -1.2, -.6, 0, .7, 1.5)),
  weight = round(70 + 12 * latent(1, .5), 1),
  height = round(1.7 + .1 * latent(2, .4), 2))
for (j in seq_along(skewed)) skewed[sample(n, 8 * j), j] <- NA
skewed[13, ] <- NA
write.csv(skewed, "skewed.csv", row.names = FALSE, na = "")

moments <- function(data, ordered, missing, gamma = TRUE) {
  model <- paste("f =~", paste(names(data), collapse = " + "))
  fit <- suppressWarnings(cfa(model, data, ordered = ordered, missing = missing, std.lv = TRUE, do.fit = FALSE))
  g <- unclass(lavInspect(fit, "gamma"))
  out <- list(items = names(data), ordered = ordered, missing = missing, n = lavInspect(fit, "nobs"),
       correlation = unname(unclass(suppressWarnings(lavCor(data, ordered = ordered, missing = missing)))),
       moments = unname(as.numeric(lavInspect(fit, "wls.obs"))), gamma_diagonal = unname(diag(g)))
  if (gamma) out$gamma <- unname(g)
  out
}
ord <- c("five1", "five2", "three", "two1", "two2", "seven")
big5 <- names(bfi_part)[1:25]
figures <- list(
  versions = list(R = as.character(getRversion()), lavaan = as.character(packageVersion("lavaan")),
                  psych = as.character(packageVersion("psych")), psychTools = as.character(packageVersion("psychTools"))),
  bfi_pairwise = moments(bfi_part[big5], big5, "pairwise", gamma = FALSE),
  bfi_listwise = moments(bfi_part[c("A1", "A2", "C4", "N1", "O2")], c("A1", "A2", "C4", "N1", "O2"), "listwise"),
  bfi_mixed = moments(bfi_part[c("gender", "A1", "age", "N1", "education")], c("gender", "A1", "N1", "education"),
                      "pairwise"),
  skewed_pairwise = moments(skewed[ord], ord, "pairwise"),
  skewed_listwise = moments(skewed[ord], ord, "listwise"),
  skewed_mixed_pairwise = moments(skewed[c("weight", ord, "height")], ord, "pairwise"),
  skewed_mixed_listwise = moments(skewed[c(ord[1:3], "height", "weight", ord[4:6])], ord, "listwise"))

# 3. Tables with empty cells, as two columns of answers.
tables <- list(one_empty = matrix(c(0, 12, 15, 33), 2), other_empty = matrix(c(21, 0, 14, 30), 2),
               halves = matrix(c(31, 19, 19, 31), 2), unrelated = matrix(c(10, 20, 20, 40), 2),
               three = matrix(c(20, 3, 0, 4, 25, 0, 0, 2, 16), 3),
               steep = matrix(c(40, 1, 0, 1, 40, 1, 0, 1, 40), 3))
figures$tables <- lapply(tables, function(t) {
  d <- as.data.frame(as.table(t)); d <- d[rep(seq_len(nrow(d)), d$Freq), 1:2]
  d[] <- lapply(d, as.integer)
  list(table = t, rho = suppressWarnings(lavCor(d, ordered = names(d)))[1, 2]) })

# 4. How many factors.
x <- bfi_part[big5]
r <- cor(x, use = "pairwise")
sink(tempfile())
figures$retention <- list(
  eigenvalues = eigen(r)$values, map = suppressMessages(vss(r, n = 25, n.obs = 400, plot = FALSE, rotate = "none"))$map,
  factor_eigenvalues = suppressMessages(fa(r, 1, rotate = "none", fm = "minres", n.obs = 400))$values)
pearson <- fa.parallel(x, n.iter = 500, quant = .95, fa = "both", plot = FALSE)
figures$retention$parallel <- list(n_components = pearson$ncomp, n_factors = pearson$nfact,
  component_mean = pearson$pc.sim, component_mean_resampled = pearson$pc.simr, factor_mean = pearson$fa.sim,
  component_p95 = apply(pearson$values[, 51:75], 2, quantile, .95), factor_p95 = apply(pearson$values[, 76:100], 2, quantile, .95))
sink()
write_json(figures, "correlations.json", digits = NA, auto_unbox = TRUE, matrix = "rowmajor")
