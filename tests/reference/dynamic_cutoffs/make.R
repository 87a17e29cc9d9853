# Dynamic fit index cut-offs (McNeish & Wolf 2021, 2023) by a script of our own on lavaan: the package dynamic is not in Debian.
# Run in this folder: Rscript make.R   (several minutes). Levels are written out by hand from the published rules.
suppressMessages({library(lavaan); library(mvtnorm); library(jsonlite)})
set.seed(20211); reps <- 500
x <- read.csv("../hs1939.csv")

quantiles <- function(implied, model, n, ordered = NULL, cuts = NULL, reps) {
  run <- function(...) {
    d <- as.data.frame(rmvnorm(n, sigma = implied)); names(d) <- rownames(implied)
    if (is.null(cuts)) {
      f <- cfa(model, d, std.lv = TRUE)
      return(fitMeasures(f, c("srmr", "rmsea", "cfi")))
    }
    for (v in names(d)) d[[v]] <- findInterval(d[[v]], cuts[[v]])
    f <- cfa(model, d, std.lv = TRUE, ordered = names(d), estimator = "WLSMV")
    fitMeasures(f, c("srmr", "rmsea.scaled", "cfi.scaled"))
  }
  found <- suppressWarnings(t(sapply(seq_len(reps), run)))
  list(srmr = quantile(found[, 1], c(.05, .10, .5, .90, .95), names = FALSE), rmsea = quantile(found[, 2], c(.05, .10, .5, .90, .95), names = FALSE),
       cfi = quantile(found[, 3], c(.05, .10, .5, .90, .95), names = FALSE))
}
implied_by <- function(lambda, phi, errors = NULL) {
  common <- lambda %*% phi %*% t(lambda); theta <- diag(1 - diag(common))
  if (!is.null(errors)) for (e in seq_len(nrow(errors))) {
    i <- errors[e, 1]; j <- errors[e, 2]
    theta[i, j] <- theta[j, i] <- .3 * sqrt(theta[i, i] * theta[j, j])
  }
  s <- common + theta; dimnames(s) <- list(rownames(lambda), rownames(lambda)); s
}

# Three factors: cross-loadings, one level for each factor but one.
model3 <- "visual =~ x1 + x2 + x3\n textual =~ x4 + x5 + x6\n speed =~ x7 + x8 + x9"
fit3 <- cfa(model3, x, std.lv = TRUE)
std <- lavInspect(fit3, "std"); lambda <- unclass(std$lambda); phi <- unclass(std$psi)
h <- apply(lambda, 2, function(l) { l <- l[l != 0]; 1 / (1 + 1 / sum(l^2 / (1 - l^2))) })
cross <- function(item, own, other) min(lambda[item, own], .95 * (sqrt(lambda[item, own]^2 * phi[own, other]^2 + 1 - lambda[item, own]^2) - lambda[item, own] * phi[own, other]))
# x2 is the weakest item of visual (and of all), x7 that of speed; both go to the factor with the highest H left: textual.
stopifnot(which.min(lambda["x2", "visual"]) == 1, names(which.max(h)) == "textual")
added <- c(cross("x2", "visual", "textual"), cross("x7", "speed", "textual"))
l1 <- lambda; l1["x2", "textual"] <- added[1]
l2 <- l1; l2["x7", "textual"] <- added[2]
three <- list(cross_loadings = added, h = h,
  level0 = quantiles(implied_by(lambda, phi), model3, 301, reps = reps), level1 = quantiles(implied_by(l1, phi), model3, 301, reps = reps),
  level2 = quantiles(implied_by(l2, phi), model3, 301, reps = reps), implied_level2 = implied_by(l2, phi))

# One factor: residual correlations of .3 between neighbours in the order of their loadings.
manual <- c(Y1 = .602, Y2 = .805, Y3 = .857, Y4 = .631, Y5 = .345, Y6 = .646)
model1 <- "F1 =~ Y1 + Y2 + Y3 + Y4 + Y5 + Y6"
lambda1 <- matrix(manual, ncol = 1, dimnames = list(names(manual), "F1"))
order1 <- order(abs(manual)); pairs <- matrix(order1, ncol = 2, byrow = TRUE)
one <- list(n = 500, loadings = manual, pairs = pairs,
  level0 = quantiles(implied_by(lambda1, matrix(1)), model1, 500, reps = reps))
for (k in 1:3) one[[paste0("level", k)]] <- quantiles(implied_by(lambda1, matrix(1), pairs[1:k, , drop = FALSE]), model1, 500, reps = reps)

# The same factor with items cut into four categories, WLSMV and scaled indices.
cuts <- setNames(lapply(seq_along(manual), function(i) c(-1.5, -.6, .5) + .1 * i), names(manual))
ordinal <- list(n = 400, cuts = cuts,
  level0 = quantiles(implied_by(lambda1, matrix(1)), model1, 400, cuts = cuts, reps = 300),
  level1 = quantiles(implied_by(lambda1, matrix(1), pairs[1, , drop = FALSE]), model1, 400, cuts = cuts, reps = 300))
write_json(list(versions = list(R = R.version.string, lavaan = as.character(packageVersion("lavaan"))), reps = reps,
  three = three, one = one, ordinal = ordinal), "dynamic_cutoffs.json", digits = 8, auto_unbox = TRUE, pretty = TRUE)
