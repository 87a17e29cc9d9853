# Cluster-robust regression: reference figures by clubSandwich, and the wild cluster bootstrap written out.
# Run in this folder: Rscript make.R
suppressMessages({library(clubSandwich); library(jsonlite)})
set.seed(20)
simulate <- function(sizes) {
  cl <- rep(seq_along(sizes), sizes); n <- length(cl)
  x <- rnorm(n) + rnorm(length(sizes))[cl]
  z <- rnorm(length(sizes))[cl]
  y <- 1 + .4 * x - .3 * z + .8 * rnorm(length(sizes))[cl] + rnorm(n) * (1 + .3 * abs(x))
  v <- .2 * x + .5 * y + rnorm(n)
  d <- data.frame(cl = sprintf("C%02d", cl), x = x, z = z, y = y, v = v, w = round(runif(n, .5, 2), 3))
  d[sample(n), ]
}
many <- simulate(sample(2:14, 32, TRUE)); few <- simulate(c(9, 4, 12, 7, 15, 3, 8, 10, 6, 11))
write.csv(format(many, digits = 10), "many.csv", row.names = FALSE, quote = FALSE)
write.csv(format(few, digits = 10), "few.csv", row.names = FALSE, quote = FALSE)
many <- read.csv("many.csv"); few <- read.csv("few.csv")

one <- function(d, formula, weights = NULL) {
  d$.w <- if (is.null(weights)) rep(1, nrow(d)) else d[[weights]]
  fit <- if (is.null(weights)) lm(formula, d) else lm(formula, d, weights = .w)
  out <- list(coefficients = unname(coef(fit)), sigma = sqrt(sum(residuals(fit)^2 * d$.w) / fit$df.residual))
  out$r_squared <- summary(fit)$r.squared
  for (type in c("CR0", "CR1", "CR1S", "CR2")) {
    V <- vcovCR(fit, cluster = d$cl, type = type)
    test <- coef_test(fit, vcov = V, test = "Satterthwaite")
    ci <- conf_int(fit, vcov = V)
    out[[type]] <- list(vcov = as.matrix(V), se = test$SE, df = if (!is.null(test$df)) test$df else test$df_Satt,
                        p = if (!is.null(test$p_Satt)) test$p_Satt else test$p_val, lower = ci$CI_L, upper = ci$CI_U)
  }
  V <- vcovCR(fit, cluster = d$cl, type = "CR2")
  k <- length(coef(fit)); C <- diag(k)[-1, , drop = FALSE]
  w <- Wald_test(fit, constraints = C, vcov = V, test = "HTZ")
  out$HTZ <- list(F = w$Fstat, df_num = w$df_num, df_denom = w$df_denom, p = w$p_val)
  # b_x + b_z is the coefficient of x once z - x stands beside it.
  sums <- if (is.null(weights)) lm(y ~ x + I(z - x), d) else lm(y ~ x + I(z - x), d, weights = .w)
  test <- coef_test(sums, vcov = vcovCR(sums, cluster = d$cl, type = "CR2"), test = "Satterthwaite")[2, ]
  out$contrast <- list(est = test$beta, se = test$SE, df = if (!is.null(test$df)) test$df else test$df_Satt)
  out
}
joint <- function(d) {
  fit <- lm(cbind(y, v) ~ x + z, d)
  V <- vcovCR(fit, cluster = d$cl, type = "CR2")
  C <- matrix(0, 2, 6); C[1, 2] <- 1; C[1, 5] <- -1; C[2, 3] <- 1; C[2, 6] <- -1
  w <- Wald_test(fit, constraints = C, vcov = V, test = "HTZ")
  list(coefficients = as.vector(coef(fit)), vcov = as.matrix(V), F = w$Fstat, df_denom = w$df_denom, p = w$p_val)
}
# Null imposed, all 2^10 patterns of signs, t with CR1: the p value is exact.
wild <- function(d) {
  X <- cbind(1, d$x, d$z); y <- d$y; cl <- as.integer(factor(d$cl)); J <- max(cl)
  tstat <- function(y) {
    M <- solve(crossprod(X)); b <- M %*% crossprod(X, y); e <- drop(y - X %*% b)
    s <- rowsum(X * e, cl); V <- M %*% crossprod(s) %*% M * J / (J - 1)
    b[2] / sqrt(V[2, 2])
  }
  X0 <- X[, -2]; b0 <- solve(crossprod(X0), crossprod(X0, y)); f0 <- drop(X0 %*% b0); e0 <- y - f0
  signs <- as.matrix(expand.grid(rep(list(c(-1, 1)), J)))
  t0 <- tstat(y)
  tb <- apply(signs, 1, function(s) tstat(f0 + e0 * s[cl]))
  list(t = t0, p = mean(abs(tb) >= abs(t0) * (1 - 1e-10)), quantiles = unname(quantile(tb, c(.05, .5, .95))))
}
write_json(list(
  versions = list(R = as.character(getRversion()), clubSandwich = as.character(packageVersion("clubSandwich"))),
  many = one(many, y ~ x + z), many_weighted = one(many, y ~ x + z, "w"),
  few = one(few, y ~ x + z), few_weighted = one(few, y ~ x + z, "w"),
  joint = joint(many), wild = wild(few)
), "robust.json", digits = 12, auto_unbox = TRUE, matrix = "rowmajor")
