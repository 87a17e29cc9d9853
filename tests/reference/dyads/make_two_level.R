# Two-level factor analysis by lavaan: run in this folder with `Rscript make_two_level.R`. Writes two_level.json and its data
# clinics.csv (simulated: 70 clinicians, 4 to 12 patients, 6 items of two factors within and one between).
library(lavaan); library(jsonlite)
set.seed(31)
k <- 70; n <- sample(4:12, k, TRUE); cl <- rep(seq_len(k), n); total <- sum(n)
fb <- rnorm(k, 0, .6); fw <- matrix(rnorm(2 * total), total) %*% chol(matrix(c(.8, .4, .4, .7), 2))
y <- sapply(1:6, function(i) 3 + c(1, .8, .9, 1, .7, 1.1)[i] * fw[, 1 + (i > 3)] + c(1, .9, .8, 1, 1.1, .9)[i] * fb[cl] +
              rnorm(k, 0, .3)[cl] + (rchisq(total, 6) - 6) / sqrt(12) * .8)
clinics <- data.frame(cl = cl, round(y, 3)); names(clinics)[-1] <- paste0("y", 1:6)
write.csv(clinics, "clinics.csv", row.names = FALSE, quote = FALSE)
data(Demo.twolevel)
demo <- Demo.twolevel[Demo.twolevel$cluster <= 80, c("cluster", "y1", "y2", "y3")]
demo[, -1] <- round(demo[, -1], 4); names(demo)[1] <- "cl"
write.csv(demo, "demo_two_level.csv", row.names = FALSE, quote = FALSE)
models <- list(
  two_and_one = list(data = "clinics.csv", model = "level: 1\n f1 =~ y1 + y2 + y3\n f2 =~ y4 + y5 + y6\nlevel: 2\n fb =~ y1 + y2 + y3 + y4 + y5 + y6"),
  equal_loadings = list(data = "demo_two_level.csv", model = "level: 1\n fw =~ y1 + b*y2 + c*y3\nlevel: 2\n fb =~ y1 + b*y2 + c*y3"),
  one_and_one = list(data = "clinics.csv", model = "level: 1\n fw =~ y1 + y2 + y3 + y4 + y5 + y6\nlevel: 2\n fb =~ y1 + y2 + y3 + y4 + y5 + y6\n y1 ~~ y2"))
run <- function(entry, estimator) {
  f <- cfa(entry$model, read.csv(entry$data), cluster = "cl", estimator = estimator, em.h1.iter.max = 20000, em.h1.tol = 1e-10)
  p <- parameterEstimates(f, standardized = TRUE)
  m <- unclass(fitMeasures(f)); names(m) <- gsub(".", "_", names(m), fixed = TRUE)
  list(fit = as.list(m), parameters = lapply(seq_len(nrow(p)), function(i) list(p$lhs[i], p$op[i], p$rhs[i], p$level[i], p$est[i], p$se[i], p$std.all[i])))
}
reference <- list(versions = list(R = as.character(getRversion()), lavaan = as.character(packageVersion("lavaan"))))
for (name in names(models)) reference[[name]] <- c(models[[name]], ML = list(run(models[[name]], "ML")), MLR = list(run(models[[name]], "MLR")))
write_json(reference, "two_level.json", digits = 10, auto_unbox = TRUE, na = "null")
